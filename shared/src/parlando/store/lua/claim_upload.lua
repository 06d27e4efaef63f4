-- Give an upload to a job, which from then on owns the file; or take it back from one that was refused. Safe to repeat.
-- KEYS  1 upload   2 all   3 the owner's
-- ARGV  1 id   2 job   3 whether the job gets it (1/0)
-- Returns the job that has it, '' for none; nil if there is no such upload.
local known = redis.call('HMGET', KEYS[1], 'job', 'expires')
if not known[2] then return false end
if ARGV[3] == '1' then
  if known[1] ~= '' then return known[1] end
  redis.call('HSET', KEYS[1], 'job', ARGV[2])
  redis.call('EXPIRE', KEYS[1], LONG_TTL_S)
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  return ARGV[2]
end
if known[1] ~= ARGV[2] then return known[1] end
redis.call('HSET', KEYS[1], 'job', '')
for i = 2, 3 do
  redis.call('ZADD', KEYS[i], known[2], ARGV[1])
  redis.call('EXPIRE', KEYS[i], LONG_TTL_S)
end
return ''
