-- with feed usage
-- Append and publish kept events, move the checkpoint and trim the audio below it, atomically. If a song recognizer
-- reads the session too, up to 60 s of audio below the checkpoint are kept until it has finished.
-- KEYS  1 session hash   2 pcm stream   3 events stream and channel   4 sessions stream
--       5 raw stream   6 intake stream   7 feed   8 usage of the day   9 arrivals
-- ARGV  1 epoch   2 id of the commit   3 seq before the first event   4 checkpoint ('': unchanged)
--       5 snapshot, JSON   6 number of the last control included in the checkpoint
--       7 samples decoded   8 number of finished segments   9 close the session (1/0)   10 entry id   11 group
--       12 TTL, seconds   13 group of the conversion queue   14 samples covered by finals ('': unchanged)
--       15 audio before this sample belongs to the usage ('': unchanged)
--       16… for each event: its JSON including its seq, and whether it is a final (1/0)
-- Returns {"ok", new seq}; {"fenced"} if another worker owns the session; {"seq", seq} if another process has
-- appended an event: nothing is stored, and the caller repeats the commit with numbers after `seq`.
-- Safe to repeat: the id of the last commit is stored, and the same commit is not applied twice.
local FIRST = 16
local KEPT_FOR_SONGS = 960000  -- samples below the checkpoint that a song recognizer may still read: 60 s
local KEPT_FOR_SONGS_S = 60    -- lifetime of the audio of a closed session that it hasn't finished
local s = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'uid', 'push', 'metered', 'intake_entry',
  'commit', 'controls_done', 'start', 'key', 'counted', 'api_key', 'songs_entry')
local songs = s[13] and s[13] ~= ''
local function feed_event(kind, seq, wanted)
  add_to_feed(KEYS[7], kind, string.match(KEYS[1], ':session:(.*)$'), s[10], s[3], seq, wanted)
end
if s[1] ~= ARGV[1] then return {'fenced'} end
local now = tonumber(s[2])
if s[7] == ARGV[2] then return {'ok', now} end
if now ~= tonumber(ARGV[3]) then return {'seq', now} end
for i = FIRST, #ARGV, 2 do
  now = now + 1
  redis.call('XADD', KEYS[3], string.format('%.0f-0', now), 'e', ARGV[i])
  redis.call('PUBLISH', KEYS[3], ARGV[i])
  if ARGV[i + 1] == '1' then feed_event('final', now, s[4] == '1') end
end
redis.call('HSET', KEYS[1], 'seq', string.format('%.0f', now), 'commit', ARGV[2], 'decoded', ARGV[7],
  'segments', ARGV[8])
if ARGV[14] ~= '' then redis.call('HSET', KEYS[1], 'settled', ARGV[14]) end
-- Audio is counted once, with the final that it belongs to; that of bodies was counted when it was received.
local counts = s[11] or not s[5]
if counts and ARGV[15] ~= '' then
  local counted, upto = tonumber(s[11] or s[9] or 0), tonumber(ARGV[15])
  if upto > counted then
    count_audio(KEYS[8], s[10], s[12], 'live_ms', math.floor(upto / 16) - math.floor(counted / 16))
    redis.call('HSET', KEYS[1], 'counted', ARGV[15], 'metered', 1)
  end
end
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'checkpoint', ARGV[4], 'snapshot', ARGV[5], 'controls_done', ARGV[6])
  if #ARGV >= FIRST then redis.call('HDEL', KEYS[1], 'open') end
  local least = ARGV[4]
  if songs then least = string.format('%.0f', math.max(0, tonumber(least) - KEPT_FOR_SONGS)) end
  redis.call('XTRIM', KEYS[2], 'MINID', least .. '-1')
  for n = tonumber(s[8] or ARGV[6]) + 1, tonumber(ARGV[6]) do
    local at = redis.call('HGET', KEYS[1], 'at:' .. n)
    if at then redis.call('XDEL', KEYS[2], at .. '-' .. n) end
    redis.call('HDEL', KEYS[1], 'at:' .. n)
  end
end
if ARGV[9] == '1' then
  redis.call('HSET', KEYS[1], 'state', 'closed', 'owner', '')
  redis.call('HDEL', KEYS[1], 'open', 'snapshot', 'intake_state')
  redis.call('DEL', KEYS[5])
  if songs then redis.call('EXPIRE', KEYS[2], KEPT_FOR_SONGS_S) else redis.call('DEL', KEYS[2]) end
  redis.call('XACK', KEYS[4], ARGV[11], ARGV[10])
  redis.call('XDEL', KEYS[4], ARGV[10])
  if s[6] and s[6] ~= '' then
    redis.call('XACK', KEYS[6], ARGV[13], s[6])
    redis.call('XDEL', KEYS[6], s[6])
  end
  redis.call('EXPIRE', KEYS[1], ARGV[12])
  feed_event('closed', now, false)
  if s[3] and s[3] ~= '' then
    redis.call('EXPIRE', KEYS[1], LONG_TTL_S)  -- time for the archive to store it
    if counts then count_usage(KEYS[8], s[10], 'files', 1) end
  end
end
expire_with(KEYS[1], KEYS[3])
expire_with(KEYS[1], KEYS[9])
return {'ok', now}
