-- with pending
-- Count a live session or a waiting job as long as it is renewed, unless there are too many. Safe to repeat: a
-- name that is counted already is renewed only.
-- KEYS  1 names of the owner   2 names of the key   3 audio of running sessions
-- ARGV  1 name   2 seconds for which it counts without being renewed   3 limit of the owner (0: none)
--       4 limit of the key (0: none)   5 counts in any case (1/0)
--       6 milliseconds of its audio that aren't in the usage yet ('': unchanged)   7 id of the key
-- Returns {"ok" or "owner" or "key" (which limit is reached), number of the owner, of the key,
--          milliseconds of all running sessions of the owner, of the key}.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do set_pending(KEYS[3], gone) end
for at = 1, 2 do redis.call('ZREMRANGEBYSCORE', KEYS[at], '-inf', now) end
local counts = {redis.call('ZCARD', KEYS[1]), redis.call('ZCARD', KEYS[2])}
local verdict = 'ok'
if ARGV[5] ~= '1' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  for at, whose in ipairs({'owner', 'key'}) do
    local limit = tonumber(ARGV[2 + at])
    if limit > 0 and counts[at] >= limit then verdict = whose end
  end
end
if verdict == 'ok' then
  for at = 1, 2 do
    redis.call('ZADD', KEYS[at], string.format('%.0f', math.ceil(now + ARGV[2])), ARGV[1])
    if redis.call('TTL', KEYS[at]) < tonumber(ARGV[2]) then
      redis.call('EXPIRE', KEYS[at], math.ceil(tonumber(ARGV[2])) + 1)
    end
    counts[at] = redis.call('ZCARD', KEYS[at])
  end
  if ARGV[6] ~= '' then
    set_pending(KEYS[3], ARGV[1], ARGV[6], ARGV[7])
    redis.call('PEXPIRE', KEYS[3], redis.call('PTTL', KEYS[1]))  -- no sum outlasts the names that it is of
  end
end
local sums = redis.call('HMGET', KEYS[3], '+', '+' .. ARGV[7])
return {verdict, counts[1], counts[2], tonumber(sums[1] or 0), tonumber(sums[2] or 0)}
