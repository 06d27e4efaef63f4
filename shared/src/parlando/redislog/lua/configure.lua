-- Replace the config of a session that has no audio yet.
-- KEYS  1 session hash
-- ARGV  1 writer number   2 config, JSON
-- Returns "ok", "missing", "superseded" or "late".
local s = redis.call('HMGET', KEYS[1], 'state', 'writer', 'received')
if not s[1] then return 'missing' end
if s[2] ~= ARGV[1] then return 'superseded' end
if s[3] ~= '0' then return 'late' end
redis.call('HSET', KEYS[1], 'config', ARGV[2])
return 'ok'
