-- with feed
-- Append and publish kept events, move the checkpoint and trim the audio below it, atomically.
-- KEYS  1 session hash   2 pcm stream   3 events stream and channel   4 sessions stream
--       5 raw stream   6 intake stream   7 feed   8 usage hash of the month   9 arrivals
-- ARGV  1 epoch   2 id of the commit   3 seq before the first event   4 checkpoint ('': unchanged)
--       5 snapshot, JSON   6 number of the last control included in the checkpoint
--       7 samples decoded   8 number of finished segments   9 close the session (1/0)   10 entry id   11 group
--       12 TTL, seconds   13 group of the conversion queue   14 samples covered by finals ('': unchanged)
--       15… for each event: its JSON including its seq, and whether it is a final (1/0)
-- Returns {"ok", new seq}; {"fenced"} if another worker owns the session; {"seq", seq} if another process has
-- appended an event: nothing is stored, and the caller repeats the commit with numbers after `seq`.
-- Safe to repeat: the id of the last commit is stored, and the same commit is not applied twice.
local FIRST = 15
local s = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'uid', 'push', 'received', 'metered', 'intake_entry',
  'commit', 'controls_done', 'start', 'key')
local function feed_event(kind, seq, wanted)
  add_to_feed(KEYS[7], kind, string.match(KEYS[1], ':session:(.*)$'), s[11], s[3], seq, wanted)
end
if s[1] ~= ARGV[1] then return {'fenced'} end
local now = tonumber(s[2])
if s[8] == ARGV[2] then return {'ok', now} end
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
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'checkpoint', ARGV[4], 'snapshot', ARGV[5], 'controls_done', ARGV[6])
  if #ARGV >= FIRST then redis.call('HDEL', KEYS[1], 'open') end
  redis.call('XTRIM', KEYS[2], 'MINID', ARGV[4] .. '-1')
  for n = tonumber(s[9] or ARGV[6]) + 1, tonumber(ARGV[6]) do
    local at = redis.call('HGET', KEYS[1], 'at:' .. n)
    if at then redis.call('XDEL', KEYS[2], at .. '-' .. n) end
    redis.call('HDEL', KEYS[1], 'at:' .. n)
  end
end
if ARGV[9] == '1' then
  redis.call('HSET', KEYS[1], 'state', 'closed', 'owner', '')
  redis.call('HDEL', KEYS[1], 'open', 'snapshot', 'intake_state')
  redis.call('DEL', KEYS[2], KEYS[5])
  redis.call('XACK', KEYS[4], ARGV[11], ARGV[10])
  redis.call('XDEL', KEYS[4], ARGV[10])
  if s[7] and s[7] ~= '' then
    redis.call('XACK', KEYS[6], ARGV[13], s[7])
    redis.call('XDEL', KEYS[6], s[7])
  end
  redis.call('EXPIRE', KEYS[1], ARGV[12])
  feed_event('closed', now, false)
  if s[3] and s[3] ~= '' then
    redis.call('EXPIRE', KEYS[1], LONG_TTL_S)  -- time for the archive to store it
    if not s[6] then
      redis.call('HINCRBY', KEYS[8], 'files', 1)
      redis.call('HINCRBY', KEYS[8], 'audio_ms', math.floor((tonumber(s[5]) - tonumber(s[10] or 0)) / 16))
      redis.call('EXPIRE', KEYS[8], USAGE_TTL_S)
    end
  end
end
expire_with(KEYS[1], KEYS[3])
expire_with(KEYS[1], KEYS[9])
return {'ok', now}
