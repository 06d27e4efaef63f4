-- with job
-- Delete what is left of a job that has ended. Its entry among the jobs stays for whoever deletes its audio.
-- Returns 1, or 0 if it hasn't ended, or is deleted already: repeating it changes nothing.
if not ended(redis.call('HGET', JOB, 'state')) then return 0 end
redis.call('DEL', JOB, PARTS, EVENTS, NOTES, NOTE_NAMES)
redis.call('ZREM', LIST, ID)
return 1
