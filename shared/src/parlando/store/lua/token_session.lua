-- Count a session that is opened with an access token. Safe to repeat: the names form a set.
-- KEYS  1 names of the token's sessions
-- ARGV  1 name of the opening   2 maximum number   3 unix time at which the token expires
-- Returns 1, or 0 if the token has opened as many sessions as it may.
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then return 1 end
if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('EXPIREAT', KEYS[1], ARGV[3])
return 1
