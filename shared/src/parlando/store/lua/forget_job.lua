-- with job
-- Delete a job that has ended. Its queue entry stays until its owner has deleted its audio.
-- Returns 1, or 0 if it has not ended or is deleted already. Safe to repeat.
if not ended(redis.call('HGET', JOB, 'state')) then return 0 end
redis.call('DEL', JOB, PARTS, EVENTS, NOTES, NOTE_NAMES, UPDATES)
redis.call('ZREM', LIST, ID)
return 1
