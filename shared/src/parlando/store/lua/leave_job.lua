-- with job once
-- Remove a job from the queue when its chunks are queued and its audio is deleted, or it has ended; or hand it back.
-- ARGV  1 epoch   2 entry id   3 first 16 digits of the hashed key   4 hand it back to the queue (1/0)
-- Returns 1, or 0 if another worker owns the job.
local epoch = redis.call('HGET', JOB, 'epoch')
if epoch and epoch ~= ARGV[1] then return 0 end
if redis.call('XDEL', JOBS, ARGV[2]) == 0 then return 1 end
redis.call('XACK', JOBS, PROCESSORS, ARGV[2])
if ARGV[4] == '1' and epoch then
  redis.call('HINCRBY', JOB, 'epoch', 1)
  redis.call('HINCRBY', JOB, 'attempts', -1)
  redis.call('HSET', JOB, 'owner', '', 'entry', redis.call('XADD', JOBS, '*', 'job', ID, 'key', ARGV[3],
    'pool', POOL))
else
  less('job:' .. ARGV[3])
end
return 1
