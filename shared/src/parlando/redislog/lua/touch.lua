-- A gateway still has the client of a session.
-- KEYS  1 session hash
-- ARGV  1 writer number   2 ttl, seconds
-- Returns "ok", "missing", "superseded" or "closed".
local s = redis.call('HMGET', KEYS[1], 'state', 'writer')
if not s[1] then return 'missing' end
if s[2] ~= ARGV[1] then return 'superseded' end
if s[1] == 'closed' then return 'closed' end
redis.call('HSET', KEYS[1], 'seen', redis.call('TIME')[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 'ok'
