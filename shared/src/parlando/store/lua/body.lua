-- with expiry usage once
-- Append one HTTP body to a user's running session: exactly once, complete, and in order.
-- KEYS  1 user hash   2 seen bodies   3 session hash   4 pcm or raw stream   5 arrivals   6 users   7 usage of the day
-- ARGV  1 session id   2 sample rate, Hz   3 name of the body (equal for a repeat)   4 window for detecting repeats, ms
--       5 body   6 maximum backlog: samples of PCM, or bytes to be converted by FFmpeg   7 body is PCM (1/0)
--       8 user name   9 maximum bytes per entry   10 lifetime of a name, seconds   11 TTL, seconds
--       12 maximum settle time, seconds   13 maximum number of names   14 maximum number of active users
-- Returns {"ok", milliseconds of audio so far}, {"repeat"}, {"other"} (another session is running),
--         {"wait"} (the session is being opened), {"ended"}, {"full"} (backlog too large) or {"many"} (too many names).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local u = redis.call('HMGET', KEYS[1], 'sid', 'rate', 'carry', 'opening', 'last', 'burst', 'minute', 'in_minute')
redis.call('ZADD', KEYS[6], now, ARGV[8])
redis.call('ZREMRANGEBYSCORE', KEYS[6], 0, now - ARGV[11] * 1000)
redis.call('ZREMRANGEBYRANK', KEYS[6], 0, -1 - tonumber(ARGV[14]))
redis.call('EXPIRE', KEYS[1], ARGV[11])
redis.call('EXPIRE', KEYS[6], ARGV[11])
local before = redis.call('ZSCORE', KEYS[2], ARGV[3])
if before and now - tonumber(before) < tonumber(ARGV[4]) then
  redis.call('HINCRBY', KEYS[1], 'repeats', 1)
  return {'repeat'}
end
if u[1] ~= ARGV[1] or u[2] ~= ARGV[2] then return {'other'} end
local s = redis.call('HMGET', KEYS[3], 'state', 'received', 'checkpoint', 'raw', 'raw_done', 'key', 'api_key')
if not s[1] then
  if time[1] - tonumber(u[4]) < 5 then return {'wait'} end
  return {'ended'}
end
if s[1] ~= 'open' then return {'ended'} end

local pcm = ARGV[7] == '1'
local unit = pcm and 2 or 1
local data = pcm and (u[3] or '') .. ARGV[5] or ARGV[5]
local whole = #data - #data % unit
local start = tonumber(pcm and s[2] or s[4])
local backlog = start - tonumber(pcm and s[3] or s[5])
if backlog + whole / unit > tonumber(ARGV[6]) then return {'full'} end
redis.call('ZREMRANGEBYSCORE', KEYS[2], 0, now - ARGV[10] * 1000)
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[13]) then return {'many'} end

local size = tonumber(ARGV[9])
for at = 1, whole, size do
  local part = string.sub(data, at, math.min(at + size - 1, whole))
  redis.call('XADD', KEYS[4], string.format('%.0f-0', start + (at - 1 + #part) / unit), 'p', part)
end
local stop = start + whole / unit
redis.call('HSET', KEYS[3], pcm and 'received' or 'raw', string.format('%.0f', stop), 'seen', time[1])
redis.call('EXPIRE', KEYS[3], ARGV[11])
expire_with(KEYS[3], KEYS[4])
redis.call('ZADD', KEYS[2], now, ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[10])

-- Bodies that arrive in quick succession form one burst; its audio ends when its last body arrives.
local samples_per_ms = ARGV[2] / 1000
local width = pcm and 1 or 2
local stream_ms, length_ms = start / width / samples_per_ms, whole / 2 / samples_per_ms
local stamp = string.format('%.0f', now)
if u[6] and now - tonumber(u[5]) < math.max(500, length_ms / 2) then
  local last = redis.call('LINDEX', KEYS[5], -1)
  if last then redis.call('LSET', KEYS[5], -1, string.match(last, '^%d+') .. ':' .. stamp) end
else
  redis.call('RPUSH', KEYS[5], string.format('%.0f:', stream_ms) .. stamp)
  redis.call('LTRIM', KEYS[5], -20000, -1)
  local pause = u[6] and (now - tonumber(u[6])) / 1000 or 0
  local settle = math.min(math.max(10, 2.5 * pause), tonumber(ARGV[12]))
  redis.call('HSET', KEYS[3], 'settle', string.format('%.0f', settle))
  redis.call('HSET', KEYS[1], 'burst', stamp)
end
expire_with(KEYS[3], KEYS[5])
local minute = math.floor(time[1] / 60)
if u[7] == tostring(minute) then
  redis.call('HINCRBY', KEYS[1], 'in_minute', 1)
else
  redis.call('HSET', KEYS[1], 'minute', minute, 'in_minute', 1,
    'minute_before', tonumber(u[7] or 0) == minute - 1 and u[8] or 0)
end
redis.call('HSET', KEYS[1], 'last', stamp, 'carry', pcm and string.sub(data, whole + 1) or '')
redis.call('HINCRBY', KEYS[1], 'bodies', 1)
count_usage(KEYS[7], s[6], 'files', 1)
count_audio(KEYS[7], s[6], s[7], 'omi_ms', math.floor(length_ms))
return {'ok', math.floor(stream_ms + length_ms)}
