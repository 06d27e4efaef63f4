-- Store an API key if it is still as the caller has read it, and tell all gateways. Safe to repeat: an equal
-- record is left unchanged.
-- KEYS  1 keys   2 times of last use   3 removed keys   4 channel
-- ARGV  1 id   2 record that the caller has read, "" for a new key   3 new record   4 maximum number of keys
--       5 unix time   6 seconds for which removed keys are noted   7 maximum number of removed keys
--       8… ids of keys that have ended, to be removed
-- Returns "ok", "changed" or "full".
local stored = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if stored == ARGV[3] then return 'ok' end
if stored ~= ARGV[2] then return 'changed' end
for at = 8, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[at])
  redis.call('HDEL', KEYS[2], ARGV[at])
  redis.call('ZADD', KEYS[3], ARGV[5], ARGV[at])
end
if #ARGV >= 8 then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[5] - ARGV[6])
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - ARGV[7])
  redis.call('EXPIRE', KEYS[3], ARGV[6])
end
if stored == '' and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return 'full' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('PUBLISH', KEYS[4], ARGV[1])
return 'ok'
