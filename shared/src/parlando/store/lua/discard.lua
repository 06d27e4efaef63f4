-- with expiry once
-- Delete the audio of a user's running session that no worker has read, and end the session.
-- KEYS  1 user hash   2 session hash   3 pcm or raw stream
-- ARGV  1 session id   2 control that ends the session, JSON
-- Returns 1, or 0 if this session is not the user's open one.
if redis.call('HGET', KEYS[1], 'sid') ~= ARGV[1] then return 0 end
local s = redis.call('HMGET', KEYS[2], 'state', 'received', 'raw', 'input')
redis.call('HDEL', KEYS[1], 'sid', 'carry', 'burst')
if s[1] ~= 'open' then return 0 end
redis.call('XTRIM', KEYS[3], 'MAXLEN', 0)
local n = redis.call('HINCRBY', KEYS[2], 'controls', 1)
local at = s[4] and s[3] or s[2]
redis.call('XADD', KEYS[3], at .. '-' .. n, 'c', ARGV[2])
redis.call('HSET', KEYS[2], 'at:' .. n, at, 'state', 'ending')
expire_with(KEYS[2], KEYS[3])
return 1
