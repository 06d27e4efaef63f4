-- with expiry once
-- Append a control entry (flush, settle, config, end) after the audio received so far: to the PCM stream, or to the
-- raw stream if FFmpeg makes the PCM; the audio-processor then forwards it.
-- KEYS  1 session hash   2 pcm stream   3 raw stream
-- ARGV  1 writer number, '' for the owner   2 epoch, for the owner   3 control, JSON
--       4 the control ends the session (1/0)   5 name ('' for none): skipped if the last named control has this name
--       6 changes of the config, JSON ('' for none)   7 maximum controls not yet included in a checkpoint
-- Returns "ok", "missing", "superseded", "closed", "lost" (Redis has restarted without its last writes), or "many" if
-- too many controls wait (never for the end).
local s = redis.call('HMGET', KEYS[1], 'state', 'writer', 'epoch', 'received', 'said', 'input', 'raw',
  'controls', 'controls_done', 'config')
if not s[1] then return 'missing' end
if ARGV[1] ~= '' and s[2] ~= ARGV[1] then return tonumber(s[2]) < tonumber(ARGV[1]) and 'lost' or 'superseded' end
if ARGV[1] == '' and s[3] ~= ARGV[2] then return 'superseded' end
if ARGV[5] ~= '' and s[5] == ARGV[5] then return 'ok' end
if s[1] ~= 'open' then return 'closed' end
if ARGV[4] ~= '1' and tonumber(s[8]) - tonumber(s[9] or s[8]) >= tonumber(ARGV[7]) then return 'many' end
local n = redis.call('HINCRBY', KEYS[1], 'controls', 1)
local stream, at = s[6] and KEYS[3] or KEYS[2], s[6] and s[7] or s[4]
redis.call('XADD', stream, at .. '-' .. n, 'c', ARGV[3])
redis.call('HSET', KEYS[1], 'at:' .. n, at)
expire_with(KEYS[1], stream)
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'said', ARGV[5]) end
if ARGV[6] ~= '' then
  local config = cjson.decode(s[10])
  for name, value in pairs(cjson.decode(ARGV[6])) do
    if value == cjson.null then config[name] = nil else config[name] = value end
  end
  redis.call('HSETNX', KEYS[1], 'first_config', s[10])  -- for decoding the audio before the change
  redis.call('HSET', KEYS[1], 'config', cjson.encode(config))
end
if ARGV[4] == '1' then redis.call('HSET', KEYS[1], 'state', 'ending') end
return 'ok'
