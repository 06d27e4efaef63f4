-- with job
-- Keep the lease of a job.
-- ARGV  1 epoch   2 entry   3 worker   4 ttl until it ends
-- Returns its state, "lost" if another worker owns it, or "gone".
local j = redis.call('HMGET', JOB, 'epoch', 'state')
if not j[1] then return 'gone' end
if j[1] ~= ARGV[1] then return 'lost' end
redis.call('XCLAIM', JOBS, PROCESSORS, ARGV[3], 0, ARGV[2], 'JUSTID')
if not ended(j[2]) then redis.call('EXPIRE', JOB, ARGV[4]) end
return j[2]
