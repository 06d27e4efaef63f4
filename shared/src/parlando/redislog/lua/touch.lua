-- with expiry
-- A gateway still has the client of a session. Repeating it changes nothing.
-- KEYS  1 session hash   2… what lives as long as the hash: audio, events, arrivals
-- ARGV  1 writer number   2 ttl, seconds
-- Returns "ok", "missing", "superseded", "closed", or "lost": Redis has restarted without the last of its writes.
local s = redis.call('HMGET', KEYS[1], 'state', 'writer')
if not s[1] then return 'missing' end
if s[2] ~= ARGV[1] then return tonumber(s[2]) < tonumber(ARGV[1]) and 'lost' or 'superseded' end
if s[1] == 'closed' then return 'closed' end
redis.call('HSET', KEYS[1], 'seen', redis.call('TIME')[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
expire_with_hash(2)
return 'ok'
