-- Say which session a recording goes into: whoever sends it again sends it into the same, where what is
-- stored already isn't stored again.
-- KEYS  1 the mark of the recording's name
-- ARGV  1 the session for a new one   2 seconds that the name is kept
-- Returns {session, are all its bytes stored (1/0)}. Safe to repeat: the first session stays.
local sid = redis.call('HGET', KEYS[1], 'sid')
if sid then return {sid, redis.call('HGET', KEYS[1], 'stored') == '1' and 1 or 0} end
redis.call('HSET', KEYS[1], 'sid', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {ARGV[1], 0}
