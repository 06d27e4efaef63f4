-- Add a clip to a known speaker of a key; the first clip makes the speaker.
-- KEYS  1 hash of the key's known speakers: name -> JSON
-- ARGV  1 name   2 clip, JSON   3 digest of the clip   4 maximum number of speakers   5 maximum number of clips
--       6 time, unix milliseconds
-- Returns the speaker as JSON; 'speakers' or 'clips' if there are too many of them.
-- Safe to repeat: a clip with the same digest is not added again.
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if not stored and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return 'speakers' end
local speaker = stored and cjson.decode(stored) or {created_ms = tonumber(ARGV[6]), clips = {}}
for _, clip in ipairs(speaker.clips) do
  if clip.digest == ARGV[3] then return stored end
end
if #speaker.clips >= tonumber(ARGV[5]) then return 'clips' end
table.insert(speaker.clips, cjson.decode(ARGV[2]))
stored = cjson.encode(speaker)
redis.call('HSET', KEYS[1], ARGV[1], stored)
return stored
