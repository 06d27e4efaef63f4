-- with delivery once
-- Delete a delivery. An attempt that is under way isn't stopped, but nothing follows it.
-- ARGV  1 id
-- Returns its state before, or nil if there's no such delivery.
local record = stored(ARGV[1])
if not record then return nil end
erase(ARGV[1], record)
return record.state
