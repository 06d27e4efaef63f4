-- with delivery once
-- Make a delivery ready now. A dead letter gets its full number of attempts again.
-- ARGV  1 id   2 TTL of the keys, seconds
-- Returns the state before, or nil if the delivery does not exist. A ready or leased delivery is unchanged.
local record = stored(ARGV[1])
if not record then return nil end
local before = record.state
if before == 'dead' then
  record.attempts, record.queued = 0, now()
end
if before == 'dead' or before == 'later' then
  move(ARGV[1], record, 'ready')
  expire(ARGV[2])
end
return before
