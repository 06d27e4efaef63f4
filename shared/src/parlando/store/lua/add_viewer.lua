-- Add a viewer token to a session. Safe to repeat: an existing field is left unchanged.
-- KEYS  1 session hash
-- ARGV  1 field of the viewer   2 viewer record, JSON   3 maximum number of viewer tokens per session
-- Returns "ok", "missing" or "full".
if redis.call('HEXISTS', KEYS[1], 'state') == 0 then return 'missing' end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 'ok' end
if tonumber(redis.call('HGET', KEYS[1], 'viewers') or 0) >= tonumber(ARGV[3]) then return 'full' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HINCRBY', KEYS[1], 'viewers', 1)
return 'ok'
