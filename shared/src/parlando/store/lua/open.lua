-- with feed usage once
-- Open a session and queue it for a transcriber of a pool, atomically.
-- KEYS  1 session hash   2 pcm stream   3 events stream   4 sessions stream   5 raw stream   6 intake stream
--       7 sessions of the user   8 arrivals   9 feed   10, 11 annotations and annotation names
--       12 queue of sessions in which songs are recognised   13 usage of the day
-- ARGV  1 session id   2 maximum open sessions of the pool in this partition (-1: no limit)   3 TTL, seconds
--       4 may replace a closed session of the same owner (1/0)
--       5 config, JSON   6 resume token, hashed   7 owner key, hashed
--       8 resume window, seconds   9 input format, JSON ('' if the bytes are 16 kHz mono s16le)
--       10 seconds without audio after which the open segment is settled (0: the gateway settles it)
--       11 user id, '' for none   12 finals may be sent to the webhook (1/0)
--       13 its audio is added to the usage as it is received (1/0), not with the finals
--       14 seq after which the events begin   15 position of the first sample
--       16 number of the first segment   17 continues a session that Redis has lost (1/0)
--       18 samples covered by finals   19 sample at which the first byte begins
--       20 client's position of that byte: samples at its own rate, or bytes of a container
--       21 format sent by the client, JSON   22 pool, whose sessions stream is KEYS[4]
--       23 songs are to be recognised (1/0)   24 id of the API key, '' for none
--       25 maximum open sessions of the owner in KEYS[4] (-1: no limit)
-- Returns {"ok", seq, writer, epoch of the events}, {"taken"}, {"full"}, or {"share"}: the owner has its share.
-- A session that replaces a closed one continues its event numbers, so that a client which has received the old
-- events misses none of the new ones; the old events are deleted. A session that continues one (17) may replace an
-- older state of itself, left in a Redis that lost its last writes; its existing events are kept.
local old = redis.call('HMGET', KEYS[1], 'state', 'key', 'seq', 'token', 'received', 'counted')
local seq = tonumber(ARGV[14])
local continues = ARGV[17] == '1'
if old[1] then
  local own = old[2] == ARGV[7]
  local closed = ARGV[4] == '1' and own and old[1] == 'closed'
  local behind = continues and (old[4] == ARGV[6] or (own and ARGV[7] ~= ''))
    and (tonumber(old[3]) < seq or tonumber(old[5]) < tonumber(ARGV[15]))
  if not (closed or behind) then return {'taken'} end
  seq = math.max(seq, tonumber(old[3]))
end
if tonumber(ARGV[2]) >= 0 and redis.call('XLEN', KEYS[4]) >= tonumber(ARGV[2]) then return {'full'} end
if tonumber(ARGV[25]) >= 0 then
  local own = 0
  for _, each in ipairs(redis.call('XRANGE', KEYS[4], '-', '+')) do
    local fields = each[2]
    for i = 1, #fields, 2 do
      if fields[i] == 'key' and fields[i + 1] == ARGV[7] then own = own + 1 end
    end
  end
  if own >= tonumber(ARGV[25]) then return {'share'} end
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[5], KEYS[8], KEYS[10], KEYS[11])
if not continues then redis.call('DEL', KEYS[3]) end
local now = redis.call('TIME')
local opened = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
-- Owners and connections of the lost session may still be active: their epochs and writer numbers must not recur.
local before = continues and opened or '0'
local writer = string.format('%.0f', tonumber(before) + 1)
local entry = redis.call('XADD', KEYS[4], '*', 'sid', ARGV[1], 'key', ARGV[7])
redis.call('EXPIRE', KEYS[4], LONG_TTL_S)
redis.call('HSET', KEYS[1], 'state', 'open', 'config', ARGV[5], 'format', ARGV[21], 'token', ARGV[6], 'key', ARGV[7],
  'entry', entry, 'created', now[1], 'seen', now[1], 'writer', writer, 'start', ARGV[15], 'received', ARGV[15],
  'epoch', before, 'owner', '', 'checkpoint', ARGV[15], 'decoded', ARGV[15], 'controls', 0, 'controls_done', 0,
  'seq', string.format('%.0f', seq), 'segments', ARGV[16], 'window', ARGV[8], 'settle', ARGV[10],
  'opened', opened, 'events_epoch', opened, 'uid', ARGV[11], 'push', ARGV[12], 'settled', ARGV[18], 'floor', ARGV[18],
  'pool', ARGV[22])
if ARGV[9] ~= '' then
  redis.call('HSET', KEYS[1], 'input', ARGV[9], 'raw', 0, 'raw_done', 0, 'intake_epoch', before,
    'input_start', ARGV[19], 'input_at', ARGV[20],
    'intake_owner', '', 'intake_control', 0, 'intake_entry', redis.call('XADD', KEYS[6], '*', 'sid', ARGV[1]))
end
-- `counted`: the audio before this sample is in the usage. What Redis has lost of the session isn't.
redis.call('HSET', KEYS[1], 'metered', 1)  -- versions that count whole sessions when they close don't count it
if ARGV[13] == '0' then
  redis.call('HSET', KEYS[1], 'counted', continues and old[6] or ARGV[18])
  if not continues then count_usage(KEYS[13], ARGV[7], 'sessions', 1) end
end
if ARGV[23] == '1' then  -- bounded, because there may be no worker that takes them
  local queued = redis.call('XADD', KEYS[12], 'MAXLEN', '~', MAX_FEED, '*', 'sid', ARGV[1])
  redis.call('HSET', KEYS[1], 'songs_epoch', before, 'songs_owner', '', 'songs_entry', queued)
end
if ARGV[11] ~= '' then
  redis.call('ZADD', KEYS[7], opened, ARGV[1])
  redis.call('ZREMRANGEBYRANK', KEYS[7], 0, -2001)
  redis.call('EXPIRE', KEYS[7], LONG_TTL_S)
end
if ARGV[24] ~= '' then redis.call('HSET', KEYS[1], 'api_key', ARGV[24]) end
redis.call('EXPIRE', KEYS[1], ARGV[3])
if old[1] or continues then redis.call('HSET', KEYS[1], 'later_life', 1) end
add_to_feed(KEYS[9], 'opened', ARGV[1], ARGV[7], ARGV[11], seq, false)
return {'ok', seq, writer, opened}
