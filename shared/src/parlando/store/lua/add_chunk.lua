-- with job
-- Queue the next piece of a job, if there's room for one more of this key: the queue is shared out alike among
-- the keys that have jobs running.
-- ARGV  1 epoch   2 index   3 what the piece is, JSON   4 its PCM; '' to ask whether there's room   5 most pieces in the queue
--       6 samples read so far, of all channels   7 samples that the file's header promises, 0 if it says nothing
--       8 must the language of the first piece be known first (1/0)
-- Returns "ok", "full", "lost" (to another worker) or "ended". Repeating it changes nothing: a piece below `planned` is queued.
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
redis.call('HSET', PARTS, 'e' .. ARGV[2], entry)
expire_with(JOB, PARTS)
more('chunk:' .. key)
redis.call('HSET', JOB, 'planned', index + 1, 'position', ARGV[6], 'expected', ARGV[7])
return 'ok'
