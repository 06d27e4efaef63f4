-- with job once
-- Store the speakers of a job's segments, and complete the job.
-- ARGV  1 the speakers of each segment in order, JSON
-- Returns 1, or 0 if they are stored already, or the job has ended. Safe to repeat.
local entry = redis.call('HGET', PARTS, 'e-1')
if not entry then return 0 end
emit('speakers', ',"speakers":' .. ARGV[1])
finish('completed', '')
return 1
