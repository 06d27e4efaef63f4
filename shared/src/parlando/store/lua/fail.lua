-- Count a worker's failure on a session that the session itself caused. Safe to repeat: one failure per epoch.
-- KEYS  1 session hash
-- ARGV  1 epoch   2 prefix of the ownership fields ('', 'intake_' or 'songs_')
-- Returns the number of failures; 0 if another worker owns the session, or the session has expired.
local s = redis.call('HMGET', KEYS[1], ARGV[2] .. 'epoch', ARGV[2] .. 'failed_epoch', ARGV[2] .. 'failures')
if s[1] ~= ARGV[1] then return 0 end
if s[2] == ARGV[1] then return tonumber(s[3]) end
redis.call('HSET', KEYS[1], ARGV[2] .. 'failed_epoch', ARGV[1])
return redis.call('HINCRBY', KEYS[1], ARGV[2] .. 'failures', 1)
