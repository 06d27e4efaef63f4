-- with once
-- Become the owner of a session, or of its conversion: raise the epoch. The work item was delivered before.
-- KEYS  1 session hash   2 the queue
-- ARGV  1 worker id   2 entry id   3 group   4 prefix of the ownership fields ('' or 'intake_')
-- Returns the hash as a flat list, or nil (and the work item is removed) if there's nothing to own.
local s = redis.call('HMGET', KEYS[1], 'state', ARGV[4] .. 'entry')
if not s[1] or s[1] == 'closed' or s[2] ~= ARGV[2] then
  redis.call('XACK', KEYS[2], ARGV[3], ARGV[2])
  redis.call('XDEL', KEYS[2], ARGV[2])
  return nil
end
redis.call('HINCRBY', KEYS[1], ARGV[4] .. 'epoch', 1)
redis.call('HSET', KEYS[1], ARGV[4] .. 'owner', ARGV[1])
return redis.call('HGETALL', KEYS[1])
