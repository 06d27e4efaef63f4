-- with expiry once
-- Attach a new connection of the client to a session. Raising the writer number fences its older connection.
-- KEYS  1 session hash   2… keys with the lifetime of the hash: audio, events, arrivals
-- ARGV  1 resume token, hashed   2 owner key, hashed ('' if no keys are configured)   3 TTL, seconds
-- Returns {"ok", writer, samples received, seq, state, config, client's format, bytes received,
--          client's position of the first of these bytes, epoch of the events, pool},
--         {"missing"} or {"denied"}.
local s = redis.call('HMGET', KEYS[1], 'state', 'token', 'key', 'received', 'seq', 'config', 'format', 'raw',
  'input_at', 'events_epoch', 'pool')
if not s[1] then return {'missing'} end
local by_token = ARGV[1] ~= '' and ARGV[1] == s[2]
local by_key = ARGV[2] ~= '' and ARGV[2] == s[3]
if not (by_token or by_key) then return {'denied'} end
local writer = redis.call('HINCRBY', KEYS[1], 'writer', 1)
if s[1] ~= 'closed' then
  redis.call('HSET', KEYS[1], 'seen', redis.call('TIME')[1])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
  expire_with_hash(2)
end
return {'ok', writer, tonumber(s[4]), tonumber(s[5]), s[1], s[6], s[7], tonumber(s[8] or 0),
  tonumber(s[9] or 0), s[10] or '0', s[11]}
