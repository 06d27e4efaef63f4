-- with job
-- End a job as failed or cancelled.
-- ARGV  1 epoch, '' if the caller is not the owner   2 "failed" or "cancelled"   3 error, JSON, or ''
-- Returns the state before, "lost", "moved" if the job has another pool by now, or nil if the job does not exist. A job
-- that has ended is unchanged. Safe to repeat.
local j = redis.call('HMGET', JOB, 'epoch', 'state', 'pool')
if not j[1] then return nil end
if j[3] ~= POOL then return 'moved' end
if ARGV[1] ~= '' and j[1] ~= ARGV[1] then return 'lost' end
if not ended(j[2]) then finish(ARGV[2], ARGV[3]) end
return j[2]
