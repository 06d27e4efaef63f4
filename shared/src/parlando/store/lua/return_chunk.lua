-- with job once
-- Give a piece back, for any worker to take: the engine failed on it, or the worker is leaving.
-- ARGV  1 index   2 entry   3 why it failed ('' if it didn't)   4 most attempts   5 what it is   6 its PCM
-- Returns 1, or 0 if there's nothing to give back.
if redis.call('HGET', PARTS, 'e' .. ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
  redis.call('HINCRBY', PARTS, 'a' .. ARGV[1], -1)
else
  redis.call('HSET', PARTS, 'w' .. ARGV[1], ARGV[3])
  if tonumber(redis.call('HGET', PARTS, 'a' .. ARGV[1])) >= tonumber(ARGV[4]) then
    finish('failed', cjson.encode({code = 'chunk_failed',
      message = 'Chunk ' .. ARGV[1] .. ' failed ' .. ARGV[4] .. ' times: ' .. ARGV[3]}))
    return 1
  end
end
drop(CHUNKS, TRANSCRIBERS, ARGV[2])
redis.call('HSET', PARTS, 'e' .. ARGV[1], redis.call('XADD', CHUNKS, '*', 'job', ID, 'index', ARGV[1],
  'key', redis.call('HGET', JOB, 'key'), 'what', ARGV[5], 'pcm', ARGV[6]))
return 1
