-- with job once
-- Store what the last step has found in all voices of a job, and complete the job.
-- ARGV  1 `speakers` or `voice`, the kind of the event   2 the speakers of each segment in order, or the voice; JSON
-- Returns 1, or 0 if they are stored already, or the job has ended. Safe to repeat.
local entry = redis.call('HGET', PARTS, 'e-1')
if not entry then return 0 end
emit(ARGV[1], ',"' .. ARGV[1] .. '":' .. ARGV[2])
finish('completed', '')
return 1
