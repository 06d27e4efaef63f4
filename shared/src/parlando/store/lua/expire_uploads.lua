-- with once
-- Remove the uploads that have expired.
-- KEYS  1 all   2 what the keys of uploads begin with   3 what the keys of owners begin with
-- ARGV  1 maximum number
-- Returns their ids.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ids) do
  local owner = redis.call('HGET', KEYS[2] .. id, 'owner') or ''
  redis.call('DEL', KEYS[2] .. id)
  redis.call('ZREM', KEYS[1], id)
  redis.call('ZREM', KEYS[3] .. string.sub(owner, 1, 16), id)
end
return ids
