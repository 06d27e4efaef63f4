-- Set or remove the limits of an owner, and tell all gateways of a change. Safe to repeat: equal limits are left
-- unchanged.
-- KEYS  1 limits of owners   2 channel
-- ARGV  1 owner   2 limits, JSON ('': remove them)   3 maximum number of owners
-- Returns "ok" or "full".
local stored = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if stored == ARGV[2] then return 'ok' end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  if stored == '' and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 'full' end
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
redis.call('PUBLISH', KEYS[2], ARGV[1])
return 'ok'
