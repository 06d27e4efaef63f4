-- with job once
-- Queue a chunk again, for any worker of its pool: the engine failed on it, or the worker is shutting down.
-- ARGV  1 index   2 entry id   3 reason of the failure ('' for none)   4 maximum number of attempts
--       5 chunk spec, JSON   6 PCM of the chunk
-- Returns 1, or 0 if the chunk is not in the queue under this entry.
if redis.call('HGET', PARTS, 'e' .. ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
  redis.call('HINCRBY', PARTS, 'a' .. ARGV[1], -1)
else
  redis.call('HSET', PARTS, 'w' .. ARGV[1], ARGV[3])
  if tonumber(redis.call('HGET', PARTS, 'a' .. ARGV[1])) >= tonumber(ARGV[4]) then
    give_up(ARGV[1], ARGV[4], ARGV[3])
    return 1
  end
end
drop(CHUNKS, TRANSCRIBERS, ARGV[2])
redis.call('HSET', PARTS, 'e' .. ARGV[1], redis.call('XADD', CHUNKS, '*', 'job', ID, 'index', ARGV[1],
  'key', redis.call('HGET', JOB, 'key'), 'what', ARGV[5], 'pcm', ARGV[6]))
redis.call('EXPIRE', CHUNKS, LONG_TTL_S)
return 1
