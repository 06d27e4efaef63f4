-- with annotation usage
-- Add an annotation to a session or job and publish it. Annotations have their own numbers; the event `seq` is unchanged.
-- KEYS  1 hash of the session or job   2 annotations stream   3 annotation names   4 channel of its events   5 feed
--       6 usage of the day
-- ARGV  1 name, unique within the subject   2 annotation JSON up to its number
--       3 the rest of the JSON, after the number and the epoch   4 maximum number of annotations
--       5 field of the hash that must have the value of   6 ('' for no condition)   7 add it to the feed (1/0)
--       8 requests to a language model that it took   9 their input tokens   10 output tokens   11 cost, millionths of a US dollar
-- Returns the number; 0 if the session or job does not exist; -1 if it has too many annotations; -2 if the condition (5)
-- is not met.
-- Safe to repeat: an annotation of the same name is not added again.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local known = redis.call('HGET', KEYS[3], ARGV[1])
if known then return tonumber(known) end
if ARGV[5] ~= '' and redis.call('HGET', KEYS[1], ARGV[5]) ~= ARGV[6] then return -2 end
local number = add_annotation(KEYS[1], KEYS[2], KEYS[4], ARGV[2], ARGV[3], ARGV[4])
if number < 0 then return number end
redis.call('HSET', KEYS[3], ARGV[1], number)
expire_with(KEYS[1], KEYS[3])
count_spent(KEYS[6], redis.call('HGET', KEYS[1], 'key'), ARGV[8], ARGV[9], ARGV[10], ARGV[11])
if ARGV[7] == '1' then
  local h = redis.call('HMGET', KEYS[1], 'key', 'uid')
  add_to_feed(KEYS[5], 'annotated', string.match(KEYS[4], ':events:(.*)$'), h[1], h[2], number, false)
end
return number
