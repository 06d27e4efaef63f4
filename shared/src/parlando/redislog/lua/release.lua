-- Hand a session back: its work item is queued anew, for any worker to take at once.
-- KEYS  1 session hash   2 sessions stream
-- ARGV  1 epoch   2 entry id   3 group   4 session id
-- Returns 1, or 0 if another worker owns the session.
local s = redis.call('HMGET', KEYS[1], 'epoch', 'state')
if s[1] ~= ARGV[1] then return 0 end
if s[2] == 'closed' then return 1 end
redis.call('XACK', KEYS[2], ARGV[3], ARGV[2])
redis.call('XDEL', KEYS[2], ARGV[2])
local entry = redis.call('XADD', KEYS[2], '*', 'sid', ARGV[4])
redis.call('HSET', KEYS[1], 'owner', '', 'entry', entry)
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
return 1
