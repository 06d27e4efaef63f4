-- with delivery
-- Renew leases.
-- ARGV  1 lease, ms   2… id, token …
-- Returns 1 for each that is still this token's, 0 for one that another worker has by now, or that was dropped.
local kept, until_ms = {}, now() + tonumber(ARGV[1])
for i = 2, #ARGV, 2 do
  local record = stored(ARGV[i])
  local ours = record and record.token == ARGV[i + 1]
  if ours then redis.call('ZADD', WORKING, until_ms, ARGV[i]) end
  kept[#kept + 1] = ours and 1 or 0
end
return kept
