-- with job
-- Renew the lease on a job.
-- ARGV  1 epoch   2 entry id   3 worker id   4 TTL of a job that has not ended, seconds
-- Returns the state, "lost" if another worker owns the job, or "gone" if it does not exist.
local j = redis.call('HMGET', JOB, 'epoch', 'state')
if not j[1] then return 'gone' end
if j[1] ~= ARGV[1] then return 'lost' end
redis.call('XCLAIM', JOBS, PROCESSORS, ARGV[3], 0, ARGV[2], 'JUSTID')
if not ended(j[2]) then redis.call('EXPIRE', JOB, ARGV[4]) end
return j[2]
