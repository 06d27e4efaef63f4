-- Store each API key that Redis has lost, or has as it was before it was revoked or rotated. Keys that were
-- removed are left out. Safe to repeat: what is stored already isn't older.
-- KEYS  1 keys   2 removed keys   3 channel
-- ARGV  id, record of each key
-- Returns the number of keys that were stored.
local function is_older(stored, known)
  local readable, old = pcall(cjson.decode, stored)
  if not readable then return true end
  local new = cjson.decode(known)
  local was_revoked, is_revoked = (old.revoked_at or 0) ~= 0, (new.revoked_at or 0) ~= 0
  if was_revoked ~= is_revoked then return is_revoked end
  return (old.version or 1) < (new.version or 1)
end

local count = 0
for at = 1, #ARGV, 2 do
  local stored = redis.call('HGET', KEYS[1], ARGV[at])
  local lost = not stored and not redis.call('ZSCORE', KEYS[2], ARGV[at])
  if lost or (stored and is_older(stored, ARGV[at + 1])) then
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
    count = count + 1
  end
end
if count > 0 then redis.call('PUBLISH', KEYS[3], '') end
return count
