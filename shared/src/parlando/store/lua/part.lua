-- with job
-- Store the result of a chunk; release the results that are complete from the beginning; complete the job with
-- the last one.
-- ARGV  1 index   2 segments, JSON   3 samples accounted for by the chunk   4 language, '' if unknown
--       5 voices of the chunk, '' for none
-- Returns 1, or 0 if the chunk has a result already, or the job has ended. Safe to repeat: the first result counts.
local j = redis.call('HMGET', JOB, 'state', 'planned', 'cut', 'released', 'key', 'language')
local entry = redis.call('HGET', PARTS, 'e' .. ARGV[1])
if not entry then return 0 end
drop(CHUNKS, TRANSCRIBERS, entry)
redis.call('HDEL', PARTS, 'e' .. ARGV[1], 'a' .. ARGV[1], 'w' .. ARGV[1])
less('chunk:' .. string.sub(j[5], 1, 16))
redis.call('HSET', PARTS, 'r' .. ARGV[1], ARGV[2])
if ARGV[5] ~= '' then redis.call('HSET', PARTS, 'v' .. ARGV[1], ARGV[5]) end
expire_with(JOB, PARTS)
redis.call('HINCRBY', JOB, 'decoded', ARGV[3])
if (j[6] or '') == '' then redis.call('HSET', JOB, 'language', ARGV[4]) end  -- '': detection was tried
redis.call('HSET', JOB, 'state', 'transcribing')
local released = tonumber(j[4])
while true do
  local segments = redis.call('HGET', PARTS, 'r' .. released)
  if not segments then break end
  redis.call('HDEL', PARTS, 'r' .. released)
  released = released + 1
  emit('segments', ',"segments":' .. segments)
end
redis.call('HSET', JOB, 'released', released)
if redis.call('HINCRBY', JOB, 'done', 1) == tonumber(j[2]) and j[3] then complete() end
return 1
