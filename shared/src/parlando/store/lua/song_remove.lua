-- with once
-- Remove a song. Its landmarks stay in the shards until they are swept, and are ignored from now on.
-- KEYS  1 song   2 contents   3 files   4 all songs   5 removed
-- ARGV  1 number
-- Returns 1, or 0 if there is no such song.
local s = redis.call('HMGET', KEYS[1], 'content', 'file')
if not s[1] then return 0 end
if redis.call('HGET', KEYS[2], s[1]) == ARGV[1] then redis.call('HDEL', KEYS[2], s[1]) end
if redis.call('HGET', KEYS[3], s[2]) == ARGV[1] then redis.call('HDEL', KEYS[3], s[2]) end
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('DEL', KEYS[1])
redis.call('SADD', KEYS[5], ARGV[1])
return 1
