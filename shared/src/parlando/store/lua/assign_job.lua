-- with job once
-- Give a job that has no pool yet the pool of KEYS[5], and add it to the waiting jobs.
-- KEYS  16 unassigned jobs
-- ARGV  1 member of the job in the unassigned jobs   2 key, hashed or its first 16 digits   3 priority
--       4 weight of the priority
-- Returns 1, or 0 if another worker has assigned it already, or it has ended.
if redis.call('ZREM', KEYS[16], ARGV[1]) == 0 then return 0 end
local state = redis.call('HGET', JOB, 'state')
if not state or ended(state) then return 0 end
redis.call('HSET', JOB, 'pool', POOL)
wait_for_admission(ARGV[2], ARGV[3], ARGV[4])
return 1
