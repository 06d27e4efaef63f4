-- with job once
-- Claim a job: raise its epoch. The queue has delivered its entry before.
-- ARGV  1 worker id   2 entry id   3 maximum number of attempts   4 first 16 digits of the hashed key
--       5 TTL of a job that has not ended, seconds
-- Returns the hash as a flat list, or nil. If the job's state is an end state, the claimant must delete its audio.
local j = redis.call('HMGET', JOB, 'state', 'entry')
if not j[1] or j[2] ~= ARGV[2] then
  drop(JOBS, PROCESSORS, ARGV[2])
  if not j[1] then less('job:' .. ARGV[4]) end
  return nil
end
redis.call('HINCRBY', JOB, 'epoch', 1)
redis.call('HSET', JOB, 'owner', ARGV[1])
if not ended(j[1]) then
  redis.call('EXPIRE', JOB, ARGV[5])
  if redis.call('HINCRBY', JOB, 'attempts', 1) > tonumber(ARGV[3]) then
    finish('failed', '{"code":"audio_failed","message":"' .. ARGV[3] ..
      ' audio-processors terminated while decoding this file"}')
  elseif j[1] == 'uploaded' then
    redis.call('HSET', JOB, 'state', 'processing_audio', 'started', now())
    emit('progress', '')
  end
end
return redis.call('HGETALL', JOB)
