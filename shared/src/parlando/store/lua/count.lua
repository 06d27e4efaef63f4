-- with once
-- Increase a counter that expires some time after its last change.
-- KEYS  1 hash or string
-- ARGV  1 field of the hash, '' for a string   2 increment   3 TTL, seconds
-- Returns the new value.
local sum
if ARGV[1] == '' then
  sum = redis.call('INCRBY', KEYS[1], ARGV[2])
else
  sum = redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return sum
