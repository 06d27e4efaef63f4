-- Put a control entry (flush, settle, config, end) behind the audio received so far: into the PCM, or,
-- where FFmpeg makes the PCM, into the bytes that came; the audio-processor then carries it over.
-- KEYS  1 session hash   2 pcm stream   3 raw stream
-- ARGV  1 writer number, or '' for the owner   2 epoch, for the owner   3 control, JSON
--       4 does it end the session (1/0)   5 the control's own id: repeating it changes nothing
-- Returns "ok", "missing", "superseded" or "closed".
local s = redis.call('HMGET', KEYS[1], 'state', 'writer', 'epoch', 'received', 'last_control', 'input', 'raw')
if not s[1] then return 'missing' end
if ARGV[1] ~= '' and s[2] ~= ARGV[1] then return 'superseded' end
if ARGV[1] == '' and s[3] ~= ARGV[2] then return 'superseded' end
if s[5] == ARGV[5] then return 'ok' end
if s[1] ~= 'open' then return 'closed' end
local n = redis.call('HINCRBY', KEYS[1], 'controls', 1)
if s[6] then
  redis.call('XADD', KEYS[3], s[7] .. '-' .. n, 'c', ARGV[3])
else
  redis.call('XADD', KEYS[2], s[4] .. '-' .. n, 'c', ARGV[3])
end
redis.call('HSET', KEYS[1], 'last_control', ARGV[5])
if ARGV[4] == '1' then redis.call('HSET', KEYS[1], 'state', 'ending') end
return 'ok'
