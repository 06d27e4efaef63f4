-- with delivery
-- What there is to do. Deletes dead letters that are too old or too many.
-- ARGV  1 entries of the inbox wanted   2 age of the oldest dead letter kept, ms   3 most dead letters
-- Returns {how many may start now, how many wait or are worked on, dead letters, {id, {field, value …}, …}}: the
--         last are the oldest entries of the inbox.
prune(tonumber(ARGV[2]), tonumber(ARGV[3]))
local at = now()
local ready, later = redis.call('ZCARD', READY), redis.call('ZCARD', LATER)
local inbox = redis.call('XLEN', INBOX)
local startable = ready + redis.call('ZCOUNT', LATER, '-inf', at) + redis.call('ZCOUNT', WORKING, '-inf', at)
local queued = {}
if inbox > 0 then
  for _, entry in ipairs(redis.call('XRANGE', INBOX, '-', '+', 'COUNT', ARGV[1])) do
    queued[#queued + 1] = entry[1]
    queued[#queued + 1] = entry[2]
  end
end
return {startable, inbox + ready + later + redis.call('ZCARD', WORKING), redis.call('ZCARD', DEAD), queued}
