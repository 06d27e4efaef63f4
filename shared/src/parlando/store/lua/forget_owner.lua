-- Delete what the scheduling of jobs in a partition knows of an owner, whose jobs are deleted. Safe to repeat.
-- KEYS  1 virtual times of the waiting jobs   2… shares of each pool
-- ARGV  1 first 16 digits of the owner's fingerprint
local count, prefix = 0, ARGV[1] .. ':'
for _, flow in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(flow, 1, #prefix) == prefix then count = count + redis.call('HDEL', KEYS[1], flow) end
end
for at = 2, #KEYS do
  count = count + redis.call('HDEL', KEYS[at], 'chunk:' .. ARGV[1])
  if redis.call('HDEL', KEYS[at], 'job:' .. ARGV[1]) == 1 then
    count = count + 1
    if redis.call('HINCRBY', KEYS[at], 'keys', -1) <= 0 then redis.call('HDEL', KEYS[at], 'keys') end
  end
end
return count
