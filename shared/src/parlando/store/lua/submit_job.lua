-- with job once
-- Add a job to the waiting jobs, in the order of start-time fair queueing (Goyal et al., 1996): each key and
-- priority is a flow; the tag of a job is the virtual time, or the last finish time of its flow if that is later.
-- ARGV  1 key, hashed   2 options, JSON   3 priority   4 weight of the priority   5 maximum waiting jobs
--       6 TTL of an ended job, seconds   7 TTL until then   8 has a callback (1/0)   9 listed (1/0)
--       10… further fields of the job hash
-- Returns {"ok"}, {"full"}, or {"exists", key, digest} if a job of that id exists.
local known = redis.call('HMGET', JOB, 'key', 'digest')
if known[1] then return {'exists', known[1], known[2] or ''} end
if redis.call('ZCARD', WAITING) >= tonumber(ARGV[5]) then return {'full'} end
local created, flow = now(), string.sub(ARGV[1], 1, 16) .. ':' .. ARGV[3]
local times = redis.call('HMGET', FLOWS, 'now', flow)
local tag = math.max(tonumber(times[1] or 0), tonumber(times[2] or 0))
redis.call('HSET', FLOWS, flow, string.format('%.17g', tag + 1 / tonumber(ARGV[4])))
redis.call('ZADD', WAITING, string.format('%.17g', tag), string.sub(ARGV[1], 1, 16) .. ':' .. POOL .. ':' .. ID)
redis.call('DEL', PARTS, EVENTS, NOTES, NOTE_NAMES)
redis.call('HSET', JOB, 'state', 'uploaded', 'key', ARGV[1], 'options', ARGV[2], 'created', created,
  'epoch', 0, 'owner', '', 'attempts', 0, 'planned', 0, 'done', 0, 'released', 0, 'seq', 0, 'shown', 0,
  'decoded', 0, 'audio', 0, 'expected', 0, 'position', 0, 'ttl', ARGV[6], 'callback', ARGV[8], 'pool', POOL,
  unpack(ARGV, 10))
redis.call('EXPIRE', JOB, ARGV[7])
redis.call('EXPIRE', WAITING, ARGV[7])
redis.call('EXPIRE', FLOWS, ARGV[7])
if ARGV[9] == '1' then
  redis.call('ZADD', LIST, created, ID)
  redis.call('ZREMRANGEBYRANK', LIST, 0, -100001)
  redis.call('EXPIRE', LIST, ARGV[7])
end
return {'ok'}
