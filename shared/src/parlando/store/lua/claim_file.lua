-- Say which session a recording goes into: whoever sends it again sends it into the same, where what is
-- stored already isn't stored again.
-- KEYS  1 the mark of the recording's name
-- ARGV  1 the session for a new one   2 seconds that the name is kept   3 are all its bytes stored now (1/0)
-- Returns {session, were all its bytes stored before (1/0)}. Safe to repeat: the first session stays.
local mark = redis.call('HMGET', KEYS[1], 'sid', 'stored')
if not mark[1] or ARGV[3] == '1' then
  redis.call('HSET', KEYS[1], 'sid', mark[1] or ARGV[1], 'stored', ARGV[3])
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return {mark[1] or ARGV[1], mark[2] == '1' and 1 or 0}
