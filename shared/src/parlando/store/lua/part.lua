-- with job
-- Take the result of a piece in; give out what is complete from the beginning on; end the job with the last one.
-- ARGV  1 index   2 its segments, JSON   3 samples that it stands for   4 language, '' if unknown
-- Returns 1, or 0 if its result had come already, or the job has ended. The first result counts, so that
-- repeating it changes nothing.
local j = redis.call('HMGET', JOB, 'state', 'planned', 'cut', 'released', 'key', 'language')
local entry = redis.call('HGET', PARTS, 'e' .. ARGV[1])
if not entry then return 0 end
drop(CHUNKS, TRANSCRIBERS, entry)
redis.call('HDEL', PARTS, 'e' .. ARGV[1], 'a' .. ARGV[1], 'w' .. ARGV[1])
less('chunk:' .. string.sub(j[5], 1, 16))
redis.call('HSET', PARTS, 'r' .. ARGV[1], ARGV[2])
expire_with(JOB, PARTS)
redis.call('HINCRBY', JOB, 'decoded', ARGV[3])
if (j[6] or '') == '' then redis.call('HSET', JOB, 'language', ARGV[4]) end  -- '' says that it was asked
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
if redis.call('HINCRBY', JOB, 'done', 1) == tonumber(j[2]) and j[3] then finish('completed', '') end
return 1
