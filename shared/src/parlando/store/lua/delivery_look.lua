-- with delivery
-- What there is to do. Deletes dead letters that are too old or too many.
-- ARGV  1 age of the oldest dead letter kept, ms   2 most dead letters
-- Returns {how many may start now, how many wait or are worked on, dead letters}.
prune(tonumber(ARGV[1]), tonumber(ARGV[2]))
local at = now()
local ready, later = redis.call('ZCARD', READY), redis.call('ZCARD', LATER)
local startable = ready + redis.call('ZCOUNT', LATER, '-inf', at) + redis.call('ZCOUNT', WORKING, '-inf', at)
return {startable, ready + later + redis.call('ZCARD', WORKING), redis.call('ZCARD', DEAD)}
