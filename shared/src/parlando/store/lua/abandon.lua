-- Clear a user's running session after it could not be opened, unless another session has replaced it.
-- KEYS  1 user hash
-- ARGV  1 session id
-- Returns 1, or 0 if another session is the user's running one. Safe to repeat.
local sid = redis.call('HGET', KEYS[1], 'sid')
if sid and sid ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'sid')
return 1
