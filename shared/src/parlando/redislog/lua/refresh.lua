-- Keep a session's lease alive: reset the idle time of its pending work item, if still the owner.
-- KEYS  1 session hash   2 sessions stream
-- ARGV  1 epoch   2 entry id   3 group   4 worker id   5 ttl, seconds
-- Returns seconds since a gateway last saw the client, or -1 if another worker owns the session,
--         or -2 if the session is gone.
local s = redis.call('HMGET', KEYS[1], 'epoch', 'seen')
if not s[1] then return -2 end
if s[1] ~= ARGV[1] then return -1 end
redis.call('XCLAIM', KEYS[2], ARGV[3], ARGV[4], 0, ARGV[2], 'JUSTID')
redis.call('EXPIRE', KEYS[1], ARGV[5])
return tonumber(redis.call('TIME')[1]) - tonumber(s[2])
