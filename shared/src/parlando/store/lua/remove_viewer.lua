-- with once
-- Revoke a viewer token, and make all followers of the session check their access again.
-- KEYS  1 session hash   2 events channel
-- ARGV  1 field of the viewer   2 message that triggers the check
-- Returns 1, or 0 if the viewer does not exist.
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], 'viewers', -1)
redis.call('PUBLISH', KEYS[2], ARGV[2])
return 1
