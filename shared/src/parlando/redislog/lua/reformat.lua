-- with once
-- Before the first audio: it comes in another format, and so perhaps by another way.
-- KEYS  1 session hash   2 intake stream
-- ARGV  1 writer number   2 session id   3 input format, JSON ('' if the bytes are PCM as we keep it)   4 group
--       5 the format that the client sends, JSON
-- Returns {"ok", samples of audio before the first}, {"missing"}, {"superseded"}, {"closed"}, or {"lost"}: Redis has
-- restarted without the last of its writes.
local s = redis.call('HMGET', KEYS[1], 'state', 'writer', 'received', 'raw', 'intake_entry', 'start')
if not s[1] then return {'missing'} end
if s[2] ~= ARGV[1] then return {tonumber(s[2]) < tonumber(ARGV[1]) and 'lost' or 'superseded'} end
local start = s[6] or '0'
if s[1] ~= 'open' or s[3] ~= start or tonumber(s[4] or 0) > 0 then return {'closed'} end
if s[5] then
  redis.call('XACK', KEYS[2], ARGV[4], s[5])
  redis.call('XDEL', KEYS[2], s[5])
  redis.call('HINCRBY', KEYS[1], 'intake_epoch', 1)
  redis.call('HDEL', KEYS[1], 'input', 'raw', 'raw_done', 'intake_entry')
end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], 'input', ARGV[3], 'raw', 0, 'raw_done', 0, 'intake_owner', '',
    'intake_control', 0, 'intake_entry', redis.call('XADD', KEYS[2], '*', 'sid', ARGV[2]))
  redis.call('HINCRBY', KEYS[1], 'intake_epoch', 1)
end
redis.call('HSET', KEYS[1], 'format', ARGV[5])
return {'ok', start}
