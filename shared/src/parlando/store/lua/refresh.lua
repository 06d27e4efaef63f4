-- with expiry
-- Renew a lease on a session: reset the idle time of the pending entry, if the caller is still the owner.
-- KEYS  1 session hash   2 queue   3… keys with the lifetime of the hash: audio, events, arrivals
-- ARGV  1 epoch   2 entry id   3 group   4 worker id   5 TTL, seconds   6 prefix of the ownership fields
-- Returns {seconds since a gateway last had the client's connection, resume window in seconds,
--          seconds without audio after which to settle, or 0, samples received, ending (1/0)};
--         {-1} if another worker owns the session, {-2} if the session does not exist.
local s = redis.call('HMGET', KEYS[1], ARGV[6] .. 'epoch', 'seen', 'window', 'settle', 'received', 'state')
if not s[1] then return {-2} end
if s[1] ~= ARGV[1] then return {-1} end
redis.call('XCLAIM', KEYS[2], ARGV[3], ARGV[4], 0, ARGV[2], 'JUSTID')
if s[6] ~= 'closed' then  -- else its lifetime is that of a closed session
  redis.call('EXPIRE', KEYS[1], ARGV[5])
  expire_with_hash(3)
end
return {tonumber(redis.call('TIME')[1]) - tonumber(s[2]), s[3] or '60', s[4] or '0', tonumber(s[5]),
  s[6] == 'open' and 0 or 1}
