-- with job once
-- Become the owner of a job: raise its epoch. The entry was delivered before.
-- ARGV  1 worker   2 entry   3 most attempts   4 the first 16 digits of the key   5 ttl until it ends
-- Returns the hash as a flat list (its state may be an end: then its audio is to be deleted), or nil.
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
      ' audio-processors died while they decoded this file"}')
  elseif j[1] == 'uploaded' then
    redis.call('HSET', JOB, 'state', 'processing_audio', 'started', now())
    emit('progress', '')
  end
end
return redis.call('HGETALL', JOB)
