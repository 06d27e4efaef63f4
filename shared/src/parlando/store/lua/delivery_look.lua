-- with delivery
-- Count the deliveries by state. Deletes dead letters that are too old or too many.
-- ARGV  1 maximum age of a dead letter, ms   2 maximum number of dead letters
-- Returns {startable now, waiting or leased, dead letters}.
prune(tonumber(ARGV[1]), tonumber(ARGV[2]))
local at = now()
local ready, later = redis.call('ZCARD', READY), redis.call('ZCARD', LATER)
local startable = ready + redis.call('ZCOUNT', LATER, '-inf', at) + redis.call('ZCOUNT', WORKING, '-inf', at)
return {startable, ready + later + redis.call('ZCARD', WORKING), redis.call('ZCARD', DEAD)}
