-- with once
-- Make a session that is about to be opened the running session of a user.
-- KEYS  1 user hash
-- ARGV  1 id of the session that was running ('' for none)   2 id of the new session   3 its sample rate, Hz
-- Returns 1, or 0 if the running session has changed since the caller read it.
local sid = redis.call('HGET', KEYS[1], 'sid') or ''
if sid ~= ARGV[1] then return 0 end
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], 'sid', ARGV[2], 'rate', ARGV[3], 'carry', '', 'opening', now[1])
redis.call('HDEL', KEYS[1], 'burst')
redis.call('EXPIRE', KEYS[1], LONG_TTL_S)
return 1
