-- with delivery
-- Make deliveries of entries of the feed, ready to start. One that is acknowledged already was made before.
-- What an owner has too much of becomes a dead letter at once, so that no owner fills the queue for all.
-- ARGV  1 group   2 ttl of the keys, seconds   3 most deliveries   4 most of one owner   5… id, record (JSON) …
-- Returns how many of the entries were dealt with, from the first on; the rest stay the worker's.
local dealt = 0
for i = 5, #ARGV, 2 do
  if redis.call('HLEN', RECORDS) >= tonumber(ARGV[3]) then break end
  if redis.call('XACK', FEED, ARGV[1], ARGV[i]) == 1 then
    local ms, number = string.match(ARGV[i], '^(%d+)%-(%d+)$')
    local id = ms .. '-' .. string.format('%05d', number)  -- so that the order of text is that of time
    local record = cjson.decode(ARGV[i + 1])
    if redis.call('HINCRBY', OWNERS, owner_of(record), 1) > tonumber(ARGV[4]) then
      record.error, record.detail = 'too_many', 'More than ' .. ARGV[4] .. ' deliveries of this key are kept'
      move(id, record, 'dead', now())
    else
      move(id, record, 'ready')
    end
  end
  dealt = dealt + 1
end
expire(ARGV[2])
return dealt
