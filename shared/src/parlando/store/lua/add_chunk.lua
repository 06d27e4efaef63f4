-- with job
-- Queue the next chunk of a job if its key has room. The keys that have running jobs in its pool share the pool's
-- queue equally.
-- ARGV  1 epoch   2 index   3 chunk spec, JSON   4 PCM of the chunk; '' only checks for room
--       5 maximum number of queued chunks of the pool in the partition
--       6 samples read so far, all channels together   7 samples announced by the file's header, 0 if unknown
--       8 1: later chunks wait until the language of the first one is known
-- Returns "ok", "full", "lost" (another worker owns the job) or "ended".
-- Safe to repeat: a chunk with an index below `planned` is queued already.
local j = redis.call('HMGET', JOB, 'epoch', 'state', 'planned', 'key', 'language')
if j[1] ~= ARGV[1] then return 'lost' end
if ended(j[2]) then return 'ended' end
local index = tonumber(ARGV[2])
if index < tonumber(j[3]) then return 'ok' end
if ARGV[8] == '1' and index > 0 and not j[5] then return 'full' end
local key = string.sub(j[4], 1, 16)
local shares = redis.call('HMGET', SHARES, 'chunk:' .. key, 'keys')
local keys = math.max(tonumber(shares[2] or 1), 1)
if tonumber(shares[1] or 0) >= math.max(4, math.floor(tonumber(ARGV[5]) / keys)) then return 'full' end
if ARGV[4] == '' then return 'ok' end
local entry = redis.call('XADD', CHUNKS, '*', 'job', ID, 'index', index, 'key', j[4], 'what', ARGV[3], 'pcm', ARGV[4])
redis.call('EXPIRE', CHUNKS, LONG_TTL_S)
redis.call('HSET', PARTS, 'e' .. ARGV[2], entry)
expire_with(JOB, PARTS)
more('chunk:' .. key)
redis.call('HSET', JOB, 'planned', index + 1, 'position', ARGV[6], 'expected', ARGV[7])
return 'ok'
