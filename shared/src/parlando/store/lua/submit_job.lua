-- with job once
-- Add a job to the waiting jobs; without a pool, to those that wait for one.
-- ARGV  1 key, hashed   2 options, JSON   3 priority   4 weight of the priority   5 maximum waiting jobs
--       6 TTL of an ended job, seconds   7 TTL until then   8 has a callback (1/0)   9 listed (1/0)
--       10 to be analysed (1/0)   11… further fields of the job hash
-- Returns {"ok"}, {"full"}, or {"exists", key, digest} if a job of that id exists.
local known = redis.call('HMGET', JOB, 'key', 'digest')
if known[1] then return {'exists', known[1], known[2] or ''} end
if redis.call('ZCARD', WAITING) >= tonumber(ARGV[5]) then return {'full'} end
local created = now()
if POOL == 'unassigned' then
  redis.call('ZADD', WAITING, created, string.sub(ARGV[1], 1, 16) .. ':' .. POOL .. ':' .. ID)
  redis.call('EXPIRE', WAITING, LONG_TTL_S)
else
  wait_for_admission(ARGV[1], ARGV[3], ARGV[4])
end
redis.call('DEL', PARTS, EVENTS, NOTES, NOTE_NAMES, UPDATES)
if ARGV[10] == '1' then redis.call('XADD', TASKS, '*', 'job', ID) end
redis.call('HSET', JOB, 'state', 'uploaded', 'key', ARGV[1], 'options', ARGV[2], 'created', created,
  'epoch', 0, 'owner', '', 'attempts', 0, 'planned', 0, 'done', 0, 'released', 0, 'seq', 0, 'shown', 0,
  'decoded', 0, 'audio', 0, 'expected', 0, 'position', 0, 'ttl', ARGV[6], 'callback', ARGV[8], 'pool', POOL,
  unpack(ARGV, 11))
redis.call('EXPIRE', JOB, ARGV[7])
if ARGV[9] == '1' then
  redis.call('ZADD', LIST, created, ID)
  redis.call('ZREMRANGEBYRANK', LIST, 0, -100001)
  redis.call('EXPIRE', LIST, ARGV[7])
end
return {'ok'}
