-- The session that was adopted couldn't be opened: the user has none, unless another was adopted meanwhile.
-- KEYS  1 user hash
-- ARGV  1 the session
-- Returns 1, or 0 if the user has another. Repeating it changes nothing.
local sid = redis.call('HGET', KEYS[1], 'sid')
if sid and sid ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'sid')
return 1
