-- End the recognition of a session's songs, and delete the audio that was kept for it. Safe to repeat.
-- KEYS  1 session hash   2 queue   3 pcm stream
-- ARGV  1 epoch   2 entry id   3 group
-- Returns 1, or 0 if another worker owns it.
local s = redis.call('HMGET', KEYS[1], 'songs_epoch', 'songs_entry', 'state')
if s[1] and s[1] ~= ARGV[1] then return 0 end
if s[2] == ARGV[2] then redis.call('HSET', KEYS[1], 'songs_entry', '', 'songs_owner', '') end
if s[3] == 'closed' then redis.call('DEL', KEYS[3]) end
redis.call('XACK', KEYS[2], ARGV[3], ARGV[2])
redis.call('XDEL', KEYS[2], ARGV[2])
return 1
