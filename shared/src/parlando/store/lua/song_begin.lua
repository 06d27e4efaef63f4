-- with once
-- Begin to register a song, unless one with the same audio is registered.
-- KEYS  1 last number   2 contents   3 files   4 removed   5 prefix of the songs' hashes
-- ARGV  1 hash of the audio   2 hash of the file ('' if unknown)   3 maximum number of songs
--       4… fields of the song and their values
-- Returns {number, 1} if it is registered, {number, 0} if it is to be registered with this number, {-1, 0} if there are
-- too many songs. An interrupted registration left landmarks under an old number, which counts as removed.
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known then
  if redis.call('HGET', KEYS[5] .. known, 'state') == 'ready' then
    if ARGV[2] ~= '' then redis.call('HSET', KEYS[3], ARGV[2], known) end
    return {tonumber(known), 1}
  end
  redis.call('SADD', KEYS[4], known)
  redis.call('DEL', KEYS[5] .. known)
end
if tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[3]) then return {-1, 0} end
local number = redis.call('INCR', KEYS[1])
redis.call('HSET', KEYS[2], ARGV[1], number)
redis.call('HSET', KEYS[5] .. number, 'state', 'writing', 'content', ARGV[1], 'file', ARGV[2])
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[5] .. number, ARGV[i], ARGV[i + 1]) end
return {number, 0}
