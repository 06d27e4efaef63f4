-- with once
-- Hand back a session's recognition or conversion: queue a new entry that any worker of the queue can claim at once.
-- KEYS  1 session hash   2 queue
-- ARGV  1 epoch   2 entry id   3 group   4 session id   5 prefix of the ownership fields ('', 'intake_' or 'songs_')
-- Returns 1, or 0 if another worker owns the session.
local s = redis.call('HMGET', KEYS[1], ARGV[5] .. 'epoch', 'state', ARGV[5] .. 'entry', 'key')
if s[1] ~= ARGV[1] then return 0 end
if s[2] == 'closed' or s[3] ~= ARGV[2] then return 1 end
redis.call('XACK', KEYS[2], ARGV[3], ARGV[2])
redis.call('XDEL', KEYS[2], ARGV[2])
local entry = redis.call('XADD', KEYS[2], '*', 'sid', ARGV[4], 'key', s[4])
if ARGV[5] == '' then redis.call('EXPIRE', KEYS[2], LONG_TTL_S) end  -- a pool's queue; the intake stays
redis.call('HSET', KEYS[1], ARGV[5] .. 'owner', '', ARGV[5] .. 'entry', entry)
redis.call('HINCRBY', KEYS[1], ARGV[5] .. 'epoch', 1)
return 1
