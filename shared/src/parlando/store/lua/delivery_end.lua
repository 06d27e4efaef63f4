-- with delivery
-- End an attempt.
-- ARGV  1 id   2 token   3 next state: "done", "later", "dead", or "ready" (interrupted, not counted as an attempt)
--       4 ms until the next attempt   5 error code   6 error detail   7 TTL of the keys, seconds
-- Returns 1, or 0 if the token does not hold the lease (any more).
local record = stored(ARGV[1])
if not record or record.token ~= ARGV[2] then return 0 end
if ARGV[3] == 'done' then
  erase(ARGV[1], record)
elseif ARGV[3] == 'ready' then
  move(ARGV[1], record, 'ready')
else
  record.attempts = record.attempts + 1
  record.error, record.detail = ARGV[5], ARGV[6]
  move(ARGV[1], record, ARGV[3], ARGV[3] == 'later' and now() + tonumber(ARGV[4]) or now())
end
expire(ARGV[7])
return 1
