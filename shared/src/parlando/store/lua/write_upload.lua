-- A request writes to an upload: note how much is there, and renew its lifetime. Safe to repeat.
-- KEYS  1 upload   2 all   3 the owner's
-- ARGV  1 id   2 request   3 whether it begins (1/0): then it takes over from another one   4 bytes that are there
--       5 seconds that the upload lives without a write; at most LONG_TTL_S after its beginning
-- Returns {"ok", time of expiry}, or {"gone"}, {"used"} if a job has it, {"superseded"} by another request.
local known = redis.call('HMGET', KEYS[1], 'created', 'job', 'writer')
if not known[1] then return {'gone'} end
if known[2] ~= '' then return {'used'} end
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[1], 'writer', ARGV[2])
elseif known[3] ~= ARGV[2] then
  return {'superseded'}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expires = math.min(now + ARGV[5] * 1000, known[1] + LONG_TTL_S * 1000)
redis.call('HSET', KEYS[1], 'expires', expires, 'written', ARGV[4])
redis.call('EXPIRE', KEYS[1], LONG_TTL_S)
for i = 2, 3 do
  redis.call('ZADD', KEYS[i], expires, ARGV[1])
  redis.call('EXPIRE', KEYS[i], LONG_TTL_S)
end
return {'ok', string.format('%d', expires)}
