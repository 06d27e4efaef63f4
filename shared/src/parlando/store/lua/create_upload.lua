-- Begin a resumable upload, unless there are too many or the disk has no room for it. Safe to repeat.
-- KEYS  1 upload   2 all   3 the owner's   4 what the keys of uploads begin with
-- ARGV  1 id   2 maximum of one key   3 maximum of all   4 bytes that may be promised ('' for any)   5 seconds that it
--       lives without a write   6… fields of the upload and their values; the first one is 'length'
-- Returns {"ok", time of expiry}, or {"key_full"}, {"full"}, {"disk", bytes that are promised to others}.
local known = redis.call('HGET', KEYS[1], 'expires')
if known then return {'ok', known} end
if redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[2]) then return {'key_full'} end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[3]) then return {'full'} end
if ARGV[4] ~= '' then
  local promised = 0
  for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    local other = redis.call('HMGET', KEYS[4] .. id, 'length', 'written')
    promised = promised + tonumber(other[1] or 0) - tonumber(other[2] or 0)
  end
  if promised + tonumber(ARGV[7]) > tonumber(ARGV[4]) then return {'disk', string.format('%d', promised)} end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expires = now + ARGV[5] * 1000
redis.call('HSET', KEYS[1], 'created', now, 'expires', expires, 'written', 0, 'writer', '', 'job', '',
  unpack(ARGV, 6))
redis.call('EXPIRE', KEYS[1], LONG_TTL_S)
for i = 2, 3 do
  redis.call('ZADD', KEYS[i], expires, ARGV[1])
  redis.call('EXPIRE', KEYS[i], LONG_TTL_S)
end
return {'ok', string.format('%d', expires)}
