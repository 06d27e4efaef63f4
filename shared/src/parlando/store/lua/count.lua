-- with once
-- Add to a counter that is forgotten some time after its last change.
-- KEYS  1 a hash, or a string
-- ARGV  1 field of the hash, '' for a string   2 what to add   3 ttl, seconds
-- Returns the sum.
local sum
if ARGV[1] == '' then
  sum = redis.call('INCRBY', KEYS[1], ARGV[2])
else
  sum = redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return sum
