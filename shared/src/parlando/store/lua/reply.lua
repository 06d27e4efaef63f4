-- with usage
-- Store the reply to a request, and count what the language model has used for it.
-- KEYS  1 reply   2 usage of the day
-- ARGV  1 reply, JSON   2 its lifetime, seconds   3 the owner's key, hashed
--       4 requests   5 input tokens   6 output tokens   7 cost in millionths of a US dollar
-- Returns 1, or 0 if the request has a reply already. Safe to repeat.
if not redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2], 'NX') then return 0 end
count_spent(KEYS[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7])
return 1
