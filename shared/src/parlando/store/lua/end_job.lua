-- with job
-- End a job before its time.
-- ARGV  1 epoch, '' for whoever is not its owner   2 "failed" or "cancelled"   3 error, JSON, or ''
-- Returns its state before that, "lost", or nil if there's no such job. What has ended stays as it is.
-- Repeating it changes nothing.
local j = redis.call('HMGET', JOB, 'epoch', 'state')
if not j[1] then return nil end
if ARGV[1] ~= '' and j[1] ~= ARGV[1] then return 'lost' end
if not ended(j[2]) then finish(ARGV[2], ARGV[3]) end
return j[2]
