-- Note when API keys were last used. Safe to repeat: a time only grows.
-- KEYS  1 keys   2 times of last use
-- ARGV  id, unix time of each key
for at = 1, #ARGV, 2 do
  local known = tonumber(redis.call('HGET', KEYS[2], ARGV[at]) or 0)
  if redis.call('HEXISTS', KEYS[1], ARGV[at]) == 1 and tonumber(ARGV[at + 1]) > known then
    redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
  end
end
