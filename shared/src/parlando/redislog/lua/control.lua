-- with expiry once
-- Put a control entry (flush, settle, config, end) behind the audio received so far: into the PCM, or,
-- where FFmpeg makes the PCM, into the bytes that came; the audio-processor then carries it over.
-- KEYS  1 session hash   2 pcm stream   3 raw stream
-- ARGV  1 writer number, or '' for the owner   2 epoch, for the owner   3 control, JSON
--       4 does it end the session (1/0)   5 a name ('' for none): the control named so last isn't said again
--       6 changes of the config, JSON ('' for none)   7 most controls that wait for a checkpoint
-- Returns "ok", "missing", "superseded", "closed", "lost" (Redis has restarted without the last of its writes), or
-- "many" if too many wait; the end is never refused so.
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
  redis.call('HSETNX', KEYS[1], 'first_config', s[10])  -- what the audio before the change is heard with
  redis.call('HSET', KEYS[1], 'config', cjson.encode(config))
end
if ARGV[4] == '1' then redis.call('HSET', KEYS[1], 'state', 'ending') end
return 'ok'
