-- with expiry once
-- End a session whose owner's data is deleted: fence its connections, delete the audio that no worker has read.
-- KEYS  1 session hash   2 pcm stream   3 raw stream
-- ARGV  1 control that ends the session, JSON
-- Returns the state before, or nil if the session does not exist.
local s = redis.call('HMGET', KEYS[1], 'state', 'received', 'raw', 'input')
if s[1] ~= 'open' then return s[1] end
local stream = s[4] and KEYS[3] or KEYS[2]
redis.call('HINCRBY', KEYS[1], 'writer', 1)
redis.call('XTRIM', stream, 'MAXLEN', 0)
local n = redis.call('HINCRBY', KEYS[1], 'controls', 1)
local at = s[4] and s[3] or s[2]
redis.call('XADD', stream, at .. '-' .. n, 'c', ARGV[1])
redis.call('HSET', KEYS[1], 'at:' .. n, at, 'state', 'ending')
expire_with(KEYS[1], stream)
return s[1]
