-- with delivery once
-- Delete a delivery. A running attempt is not stopped, but its outcome is ignored.
-- ARGV  1 id
-- Returns the state before, or nil if the delivery does not exist.
local record = stored(ARGV[1])
if not record then return nil end
erase(ARGV[1], record)
return record.state
