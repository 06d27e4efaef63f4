-- with expiry
-- Copy a control from the raw stream to the PCM stream, after all PCM before it.
-- KEYS  1 session hash   2 pcm stream   3 raw stream   4 intake stream
-- ARGV  1 epoch of the conversion   2 number of the control ('' for one made by the audio-processor, which must be the last)
--       3 control, JSON   4 the control ends the conversion (1/0)   5 entry id   6 group
-- Returns 1, or 0 if another worker owns the conversion. Safe to repeat: a control is forwarded once, and none
-- after the one that ends the conversion.
local s = redis.call('HMGET', KEYS[1], 'state', 'intake_epoch', 'received', 'intake_control', 'intake_entry')
if not s[1] or s[2] ~= ARGV[1] then return 0 end
if s[5] == '' then return 1 end
if ARGV[2] == '' or tonumber(ARGV[2]) > tonumber(s[4]) then
  local n = ARGV[2]
  if n == '' then n = redis.call('HINCRBY', KEYS[1], 'controls', 1) end
  local place = 'at:' .. n
  local at = redis.call('HGET', KEYS[1], place)
  if at then redis.call('XDEL', KEYS[3], at .. '-' .. n) end
  redis.call('HSET', KEYS[1], 'intake_control', n)
  if s[1] ~= 'closed' then
    redis.call('XADD', KEYS[2], s[3] .. '-' .. n, 'c', ARGV[3])
    redis.call('HSET', KEYS[1], place, s[3])
    expire_with(KEYS[1], KEYS[2])
  end
end
if ARGV[4] == '1' then
  if s[1] == 'open' then redis.call('HSET', KEYS[1], 'state', 'ending') end
  redis.call('HSET', KEYS[1], 'intake_entry', '', 'intake_owner', '')
  redis.call('XACK', KEYS[4], ARGV[6], ARGV[5])
  redis.call('XDEL', KEYS[4], ARGV[5])
  redis.call('DEL', KEYS[3])
end
return 1
