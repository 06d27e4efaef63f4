-- with delivery
-- Create deliveries from feed entries, in state ready. An entry that is acknowledged already is skipped.
-- A delivery beyond the owner's limit becomes a dead letter, so that no owner can fill the queue.
-- ARGV  1 group   2 TTL of the keys, seconds   3 maximum deliveries   4 maximum per owner   5… id, record (JSON) …
-- Returns the number of entries processed, counted from the first; the remaining ones stay pending.
local processed = 0
for i = 5, #ARGV, 2 do
  if redis.call('HLEN', RECORDS) >= tonumber(ARGV[3]) then break end
  if redis.call('XACK', FEED, ARGV[1], ARGV[i]) == 1 then
    local ms, number = string.match(ARGV[i], '^(%d+)%-(%d+)$')
    local id = ms .. '-' .. string.format('%05d', number)  -- zero-padded: lexicographic order is order of time
    local record = cjson.decode(ARGV[i + 1])
    if redis.call('HINCRBY', OWNERS, owner_of(record), 1) > tonumber(ARGV[4]) then
      record.error, record.detail = 'too_many', 'More than ' .. ARGV[4] .. ' deliveries of this owner are kept'
      move(id, record, 'dead', now())
    else
      move(id, record, 'ready')
    end
  end
  processed = processed + 1
end
expire(ARGV[2])
return processed
