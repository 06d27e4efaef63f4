-- Admit a notice to a user, unless its subject was noticed recently or too many were admitted within an hour.
-- KEYS  1 sorted set: `n:<notice>` by the time of admission, `s:<subject>` by the time until which it is suppressed
-- ARGV  1 notice   2 subject   3 seconds for which the subject is suppressed   4 maximum per hour   5 maximum of members
-- Returns 1 if it is admitted, else 0. Safe to repeat: an admitted notice is admitted again.
local now = tonumber(redis.call('TIME')[1])
local notice, subject = 'n:' .. ARGV[1], 's:' .. ARGV[2]
if redis.call('ZSCORE', KEYS[1], notice) then return 1 end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 3600)
if tonumber(redis.call('ZSCORE', KEYS[1], subject) or 0) > now then return 0 end
local count = 0
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(member, 1, 2) == 'n:' then count = count + 1 end
end
if count >= tonumber(ARGV[4]) then return 0 end
redis.call('ZADD', KEYS[1], now, notice, now + tonumber(ARGV[3]), subject)
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[5]))
redis.call('EXPIRE', KEYS[1], 3600 + tonumber(ARGV[3]))
return 1
