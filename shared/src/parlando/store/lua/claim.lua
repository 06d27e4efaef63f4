-- with once
-- Claim a session's recognition or conversion: raise its epoch. The queue has delivered the entry before.
-- KEYS  1 session hash   2 queue
-- ARGV  1 worker id   2 entry id   3 group   4 prefix of the ownership fields ('', 'intake_' or 'songs_')
--       5 the worker's pool ('' for an audio-processor)
-- Returns the hash as a flat list. Returns nil, and removes the entry, if there is nothing to claim: the session has
-- ended, or was opened again and has another entry, maybe in another pool.
local s = redis.call('HMGET', KEYS[1], 'state', ARGV[4] .. 'entry', 'pool')
local elsewhere = ARGV[5] ~= '' and s[3] ~= ARGV[5]
local ended = s[1] == 'closed' and ARGV[4] ~= 'songs_'  -- songs are recognised in what is left of a closed session
if not s[1] or ended or s[2] ~= ARGV[2] or elsewhere then
  redis.call('XACK', KEYS[2], ARGV[3], ARGV[2])
  redis.call('XDEL', KEYS[2], ARGV[2])
  return nil
end
redis.call('HINCRBY', KEYS[1], ARGV[4] .. 'epoch', 1)
redis.call('HSET', KEYS[1], ARGV[4] .. 'owner', ARGV[1])
return redis.call('HGETALL', KEYS[1])
