-- Move a session that has no pool yet into the queue of a pool.
-- KEYS  1 session hash   2 unassigned sessions stream   3 sessions stream of the pool
-- ARGV  1 session id   2 entry id in KEYS[2]   3 pool
-- Returns 1, or 0 if there is nothing to move: another transcriber has moved it, or the session has ended or was opened
-- again. The entry is removed in any case. Safe to repeat.
redis.call('XDEL', KEYS[2], ARGV[2])
local s = redis.call('HMGET', KEYS[1], 'state', 'entry', 'pool', 'key')
if not s[1] or s[1] == 'closed' or s[2] ~= ARGV[2] or s[3] ~= 'unassigned' then return 0 end
local entry = redis.call('XADD', KEYS[3], '*', 'sid', ARGV[1], 'key', s[4])
redis.call('EXPIRE', KEYS[3], LONG_TTL_S)
redis.call('HSET', KEYS[1], 'pool', ARGV[3], 'entry', entry)
return 1
