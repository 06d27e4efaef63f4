-- with delivery
-- Renew leases.
-- ARGV  1 lease, ms   2… id, token …
-- Returns for each delivery 1, or 0 if the token no longer holds the lease (taken over or dropped).
local kept, until_ms = {}, now() + tonumber(ARGV[1])
for i = 2, #ARGV, 2 do
  local record = stored(ARGV[i])
  local held = record and record.token == ARGV[i + 1]
  if held then redis.call('ZADD', WORKING, until_ms, ARGV[i]) end
  kept[#kept + 1] = held and 1 or 0
end
return kept
