-- Let somebody read a session. Safe to repeat: a field that is there stays as it is.
-- KEYS  1 session hash
-- ARGV  1 the viewer's field   2 what is known of the viewer, JSON   3 most viewers' tokens of a session
-- Returns "ok", "missing" or "full".
if redis.call('HEXISTS', KEYS[1], 'state') == 0 then return 'missing' end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 'ok' end
if tonumber(redis.call('HGET', KEYS[1], 'viewers') or 0) >= tonumber(ARGV[3]) then return 'full' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HINCRBY', KEYS[1], 'viewers', 1)
return 'ok'
