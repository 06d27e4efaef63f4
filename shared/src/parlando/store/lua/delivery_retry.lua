-- with delivery once
-- Have a delivery tried now; one that was given up gets all its attempts again.
-- ARGV  1 id   2 ttl of the keys, seconds
-- Returns its state before, or nil if there's no such delivery. One that is ready or worked on stays as it is.
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
