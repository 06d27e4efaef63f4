-- with delivery
-- Move entries from the inbox among the deliveries that are ready; one that is no longer in the inbox was moved before.
-- What an owner has too much of becomes a dead letter at once, so that no owner fills the queue for all.
-- ARGV  1 ttl of the keys, seconds   2 most deliveries   3 most of one owner   4… id, record (JSON) …
-- Returns how many were moved.
local moved = 0
for i = 4, #ARGV, 2 do
  if redis.call('HLEN', RECORDS) >= tonumber(ARGV[2]) then break end
  if redis.call('XDEL', INBOX, ARGV[i]) == 1 then
    local record = cjson.decode(ARGV[i + 1])
    if redis.call('HINCRBY', OWNERS, owner_of(record), 1) > tonumber(ARGV[3]) then
      record.error, record.detail = 'too_many', 'More than ' .. ARGV[3] .. ' deliveries of this key are kept'
      move(ARGV[i], record, 'dead', now())
    else
      move(ARGV[i], record, 'ready')
    end
    moved = moved + 1
  end
end
expire(ARGV[1])
return moved
