-- Become the owner of a session: raise its epoch. The work item was delivered to this worker before.
-- KEYS  1 session hash   2 sessions stream
-- ARGV  1 worker id   2 entry id   3 group
-- Returns the hash as a flat list, or nil (and the work item is removed) if there's nothing to own.
local s = redis.call('HMGET', KEYS[1], 'state', 'entry')
if not s[1] or s[1] == 'closed' or s[2] ~= ARGV[2] then
  redis.call('XACK', KEYS[2], ARGV[3], ARGV[2])
  redis.call('XDEL', KEYS[2], ARGV[2])
  return nil
end
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'owner', ARGV[1])
return redis.call('HGETALL', KEYS[1])
