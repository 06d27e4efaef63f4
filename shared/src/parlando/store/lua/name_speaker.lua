-- with annotation
-- Give a speaker of a session or job a name, or take it away, and publish the change as an annotation.
-- KEYS  1 hash of the session or job   2 annotations stream   3 channel of its events
-- ARGV  1 label of the speaker   2 name ('' for none)   3 maximum number of names   4 maximum number of changes
--       5 annotation JSON up to its number   6 the rest of the JSON, after the number and the epoch
--       7 maximum number of annotations
-- Returns the names as JSON: label -> name; '' if the session or job does not exist; 'names', 'changes' or 'annotations'
-- if there are too many of them.
-- Safe to repeat: a name that the speaker has already changes nothing.
local h = redis.call('HMGET', KEYS[1], 'speaker_names', 'speaker_changes', 'state')
if not h[3] then return '' end
local stored = h[1] or '{}'
local names = cjson.decode(stored)
if (names[ARGV[1]] or '') == ARGV[2] then return stored end
local count = 0
for _ in pairs(names) do count = count + 1 end
if ARGV[2] ~= '' and not names[ARGV[1]] and count >= tonumber(ARGV[3]) then return 'names' end
if tonumber(h[2] or 0) >= tonumber(ARGV[4]) then return 'changes' end
if add_annotation(KEYS[1], KEYS[2], KEYS[3], ARGV[5], ARGV[6], ARGV[7]) < 0 then return 'annotations' end
names[ARGV[1]] = ARGV[2] ~= '' and ARGV[2] or nil
stored = cjson.encode(names)
redis.call('HSET', KEYS[1], 'speaker_names', stored)
redis.call('HINCRBY', KEYS[1], 'speaker_changes', 1)
return stored
