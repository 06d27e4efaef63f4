-- Publish an event that isn't kept, and store what a new owner needs to go on from it.
-- KEYS  1 session hash   2 events channel
-- ARGV  1 epoch   2 event, JSON ('' to store only)   3 state of the open segment, JSON
--       4 samples decoded ('' for an event that isn't about decoding); it gives the event's lag_ms
-- Returns 1, or 0 if another worker owns the session.
local s = redis.call('HMGET', KEYS[1], 'epoch', 'received')
if s[1] ~= ARGV[1] then return 0 end
local event = ARGV[2]
redis.call('HSET', KEYS[1], 'open', ARGV[3])
if ARGV[4] ~= '' then
  local lag = math.floor((tonumber(s[2]) - tonumber(ARGV[4])) / 16)
  if event ~= '' then
    event = string.format('{"lag_ms":%.0f,', math.max(lag, 0)) .. string.sub(event, 2)
  end
  redis.call('HSET', KEYS[1], 'decoded', ARGV[4])
end
if event ~= '' then redis.call('PUBLISH', KEYS[2], event) end
return 1
