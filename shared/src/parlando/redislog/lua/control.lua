-- Put a control entry (flush, config, end) into the audio, behind what was received so far.
-- KEYS  1 session hash   2 pcm stream
-- ARGV  1 writer number, or '' for the owner   2 epoch, for the owner   3 control, JSON
--       4 does it end the session (1/0)   5 the control's own id: repeating it changes nothing
-- Returns "ok", "missing", "superseded" or "closed".
local s = redis.call('HMGET', KEYS[1], 'state', 'writer', 'epoch', 'received', 'last_control')
if not s[1] then return 'missing' end
if ARGV[1] ~= '' and s[2] ~= ARGV[1] then return 'superseded' end
if ARGV[1] == '' and s[3] ~= ARGV[2] then return 'superseded' end
if s[5] == ARGV[5] then return 'ok' end
if s[1] ~= 'open' then return 'closed' end
local n = redis.call('HINCRBY', KEYS[1], 'controls', 1)
redis.call('XADD', KEYS[2], s[4] .. '-' .. n, 'c', ARGV[3])
redis.call('HSET', KEYS[1], 'last_control', ARGV[5])
if ARGV[4] == '1' then redis.call('HSET', KEYS[1], 'state', 'ending') end
return 'ok'
