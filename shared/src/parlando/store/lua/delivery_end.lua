-- with delivery
-- End an attempt.
-- ARGV  1 id   2 token   3 what follows: "done", "later", "dead", or "ready" (it was not finished and doesn't count)
--       4 ms until the next attempt   5 code of the error   6 its detail   7 ttl of the keys, seconds
-- Returns 1, or 0 if the delivery isn't this token's (any more).
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
