-- with job once
-- Record that all chunks of a job are queued.
-- ARGV  1 epoch   2 duration in samples   3 samples of all channels together
-- Returns "ok", "lost" or "ended".
local j = redis.call('HMGET', JOB, 'epoch', 'state', 'planned', 'done')
if j[1] ~= ARGV[1] then return 'lost' end
if ended(j[2]) then return 'ended' end
redis.call('HSET', JOB, 'audio', ARGV[3], 'duration', ARGV[2], 'cut', 1)
if j[3] == j[4] then
  complete()
elseif j[2] == 'processing_audio' then
  redis.call('HSET', JOB, 'state', 'audio_ready')
  emit('progress', '')
end
return 'ok'
