-- Complete a registration. Safe to repeat.
-- KEYS  1 song   2 contents   3 files   4 all songs   5 removed
-- ARGV  1 number
-- Returns 1, or 0 if another registration of the same audio has begun: this number then counts as removed.
local s = redis.call('HMGET', KEYS[1], 'content', 'file')
if not s[1] or redis.call('HGET', KEYS[2], s[1]) ~= ARGV[1] then
  redis.call('SADD', KEYS[5], ARGV[1])
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('HSET', KEYS[1], 'state', 'ready')
if s[2] ~= '' then redis.call('HSET', KEYS[3], s[2], ARGV[1]) end
redis.call('ZADD', KEYS[4], ARGV[1], ARGV[1])
return 1
