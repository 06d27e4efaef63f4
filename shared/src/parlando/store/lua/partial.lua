-- Publish an event that is not kept, and store the state from which a new owner continues.
-- KEYS  1 session hash   2 events channel
-- ARGV  1 epoch   2 id of the call   3 event JSON up to its lag ('': only store the state)
--       4 the rest of the JSON after the lag ('' for an event without lag)   5 state of the open segment, JSON
--       6 samples decoded ('' if unchanged)
-- Returns 1, or 0 if another worker owns the session. Safe to repeat: the owner's last call is not applied twice.
local s = redis.call('HMGET', KEYS[1], 'epoch', 'received', 'published')
if s[1] ~= ARGV[1] then return 0 end
if s[3] == ARGV[2] then return 1 end
redis.call('HSET', KEYS[1], 'open', ARGV[5], 'published', ARGV[2])
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'decoded', ARGV[6]) end
local event = ARGV[3]
if ARGV[4] ~= '' then
  local lag = math.floor((tonumber(s[2]) - tonumber(ARGV[6])) / 16)
  event = event .. string.format('%.0f', math.max(lag, 0)) .. ARGV[4]
end
if event ~= '' then redis.call('PUBLISH', KEYS[2], event) end
return 1
