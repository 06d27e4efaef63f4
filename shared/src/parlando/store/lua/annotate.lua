-- with expiry
-- Add an annotation to a session or job, and publish it. Its numbers are its own: the owner's `seq` isn't touched.
-- KEYS  1 hash of the session or job   2 annotations stream   3 names of annotations   4 channel of its events
-- ARGV  1 a name that no other annotation has   2 annotation, JSON, up to where its number belongs
--       3 the rest of it behind the number and the epoch   4 most annotations
-- Returns its number; 0 if there's no such session or job; -1 if there are too many.
-- Repeating it changes nothing: an annotation of that name is there already.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local known = redis.call('HGET', KEYS[3], ARGV[1])
if known then return tonumber(known) end
local h = redis.call('HMGET', KEYS[1], 'annotations', 'events_epoch', 'created')
local number = tonumber(h[1] or 0) + 1
if number > tonumber(ARGV[4]) then return -1 end
local annotation = ARGV[2] .. string.format('%.0f', number) .. ',"epoch":' .. (h[2] or h[3]) .. ARGV[3]
redis.call('HSET', KEYS[1], 'annotations', number)
redis.call('HSET', KEYS[3], ARGV[1], number)
redis.call('XADD', KEYS[2], string.format('%.0f-0', number), 'a', annotation)
redis.call('PUBLISH', KEYS[4], annotation)
expire_with(KEYS[1], KEYS[2])
expire_with(KEYS[1], KEYS[3])
return number
