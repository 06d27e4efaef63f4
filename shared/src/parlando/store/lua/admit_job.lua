-- with job once
-- Let a waiting job in: queue it for a processor.
-- ARGV  1 its name among the waiting   2 the first 16 digits of its key, hashed
-- Returns 1, or 0 if somebody else was faster.
local tag = redis.call('ZSCORE', WAITING, ARGV[1])
if not tag then return 0 end
redis.call('ZREM', WAITING, ARGV[1])
if redis.call('ZCARD', WAITING) == 0 then
  redis.call('DEL', FLOWS)
else
  redis.call('HSET', FLOWS, 'now', tag)
end
if redis.call('EXISTS', JOB) == 0 then return 0 end
redis.call('HSET', JOB, 'entry', redis.call('XADD', JOBS, '*', 'job', ID, 'key', ARGV[2]))
more('job:' .. ARGV[2])
return 1
