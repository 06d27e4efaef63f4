-- with job once
-- Move a waiting job into the queue of the audio-processors.
-- ARGV  1 member of the job in the waiting set   2 first 16 digits of the hashed key
-- Returns 1, or 0 if another worker has admitted it already.
local tag = redis.call('ZSCORE', WAITING, ARGV[1])
if not tag then return 0 end
redis.call('ZREM', WAITING, ARGV[1])
if redis.call('ZCARD', WAITING) == 0 then
  redis.call('DEL', FLOWS)
else
  redis.call('HSET', FLOWS, 'now', tag)
end
if redis.call('EXISTS', JOB) == 0 then return 0 end
redis.call('HSET', JOB, 'entry', redis.call('XADD', JOBS, '*', 'job', ID, 'key', ARGV[2], 'pool', POOL))
more('job:' .. ARGV[2])
return 1
