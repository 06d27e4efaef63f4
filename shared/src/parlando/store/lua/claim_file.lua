-- Assign a session to a recording sent in one HTTP body. A repeated upload gets the same session, where audio
-- that is stored already is not stored again.
-- KEYS  1 mark of the recording's name
-- ARGV  1 id of a new session   2 lifetime of the mark, seconds   3 all bytes are stored now (1/0)
-- Returns {session id, all bytes were stored before (1/0)}. Safe to repeat: the first session id is kept.
local mark = redis.call('HMGET', KEYS[1], 'sid', 'stored')
if not mark[1] or ARGV[3] == '1' then
  redis.call('HSET', KEYS[1], 'sid', mark[1] or ARGV[1], 'stored', ARGV[3])
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return {mark[1] or ARGV[1], mark[2] == '1' and 1 or 0}
