-- with expiry
-- Append PCM made by the audio-processor. Safe to repeat: the entry's id is the offset of its end.
-- KEYS  1 session hash   2 pcm stream   3 raw stream   4 events channel
-- ARGV  1 epoch of the conversion   2 offset of the first sample   3 PCM bytes   4 maximum samples beyond the checkpoint
--       5 bytes of the input that are converted   6 first byte needed after a takeover; bytes below are deleted
--       7 state of the conversion, JSON   8 … events that aren't kept, JSON, published once, with the PCM
-- Returns {"ok", received}, {"full", received}, {"fenced"} (another owner, or the session has closed), or {"lost"}:
--         Redis has restarted without its last writes.
local s = redis.call('HMGET', KEYS[1], 'state', 'intake_epoch', 'received', 'checkpoint')
if not s[1] or s[1] == 'closed' or s[2] ~= ARGV[1] then return {'fenced'} end
local received = tonumber(s[3])
local stop = tonumber(ARGV[2]) + #ARGV[3] / 2
if #ARGV[3] > 0 and stop > received then
  if tonumber(ARGV[2]) ~= received then return {'lost'} end
  if stop - tonumber(s[4]) > tonumber(ARGV[4]) then return {'full', received} end
  redis.call('XADD', KEYS[2], string.format('%.0f-0', stop), 'p', ARGV[3])
  redis.call('HSET', KEYS[1], 'received', string.format('%.0f', stop))
  expire_with(KEYS[1], KEYS[2])
  for i = 8, #ARGV do redis.call('PUBLISH', KEYS[4], ARGV[i]) end
end
redis.call('HSET', KEYS[1], 'raw_done', ARGV[5], 'intake_state', ARGV[7])
redis.call('XTRIM', KEYS[3], 'MINID', ARGV[6] .. '-1')
return {'ok', stop}
