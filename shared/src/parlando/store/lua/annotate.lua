-- with feed
-- Add an annotation to a session or job and publish it. Annotations have their own numbers; the event `seq` is unchanged.
-- KEYS  1 hash of the session or job   2 annotations stream   3 annotation names   4 channel of its events   5 feed
-- ARGV  1 name, unique within the subject   2 annotation JSON up to its number
--       3 the rest of the JSON, after the number and the epoch   4 maximum number of annotations
--       5 field of the hash that must have the value of   6 ('' for no condition)   7 add it to the feed (1/0)
-- Returns the number; 0 if the session or job does not exist; -1 if it has too many annotations; -2 if the condition (5)
-- is not met.
-- Safe to repeat: an annotation of the same name is not added again.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local known = redis.call('HGET', KEYS[3], ARGV[1])
if known then return tonumber(known) end
local h = redis.call('HMGET', KEYS[1], 'annotations', 'events_epoch', 'created', 'key', 'uid')
if ARGV[5] ~= '' and redis.call('HGET', KEYS[1], ARGV[5]) ~= ARGV[6] then return -2 end
local number = tonumber(h[1] or 0) + 1
if number > tonumber(ARGV[4]) then return -1 end
local annotation = ARGV[2] .. string.format('%.0f', number) .. ',"epoch":' .. (h[2] or h[3]) .. ARGV[3]
redis.call('HSET', KEYS[1], 'annotations', number)
redis.call('HSET', KEYS[3], ARGV[1], number)
redis.call('XADD', KEYS[2], string.format('%.0f-0', number), 'a', annotation)
redis.call('PUBLISH', KEYS[4], annotation)
expire_with(KEYS[1], KEYS[2])
expire_with(KEYS[1], KEYS[3])
if ARGV[7] == '1' then
  add_to_feed(KEYS[5], 'annotated', string.match(KEYS[4], ':events:(.*)$'), h[4], h[5], number, false)
end
return number
