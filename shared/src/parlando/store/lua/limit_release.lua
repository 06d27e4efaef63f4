-- with pending
-- Count live sessions or jobs no longer. Safe to repeat.
-- KEYS  1 names of the owner   2 names of the key   3 audio of running sessions
-- ARGV  names
-- Returns how many were counted.
redis.call('ZREM', KEYS[2], unpack(ARGV))
for _, name in ipairs(ARGV) do set_pending(KEYS[3], name) end
return redis.call('ZREM', KEYS[1], unpack(ARGV))
