-- with once
-- Remove an upload.
-- KEYS  1 upload   2 all   3 the owner's
-- ARGV  1 id
-- Returns the job that has its file, '' for none; nil if there is no such upload.
local job = redis.call('HGET', KEYS[1], 'job')
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return job
