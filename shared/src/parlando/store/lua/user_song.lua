-- Remember the last song that was recognised for a user. Safe to repeat.
-- KEYS  1 user
-- ARGV  1 the song, JSON
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'song', ARGV[1]) end
return 1
