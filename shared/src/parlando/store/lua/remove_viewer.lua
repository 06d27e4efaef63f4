-- with once
-- Withdraw a viewer's leave, and have all who follow the session look again whether they may.
-- KEYS  1 session hash   2 events channel
-- ARGV  1 the viewer's field   2 the message that has them look
-- Returns 1, or 0 if there's no such viewer.
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], 'viewers', -1)
redis.call('PUBLISH', KEYS[2], ARGV[2])
return 1
