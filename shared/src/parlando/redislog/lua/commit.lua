-- Append kept events, publish them, move the checkpoint and trim the audio below it: all or nothing.
-- KEYS  1 session hash   2 pcm stream   3 events stream and channel   4 sessions stream
--       5 raw stream   6 intake stream   7 closed stream   8 pushes stream   9 usage hash of the month
-- ARGV  1 epoch   2 seq before the first event   3 checkpoint ('' to leave it)   4 snapshot, JSON
--       5 samples decoded   6 segments finished   7 close (1/0)   8 entry id   9 group   10 ttl, seconds
--       11 group of the intake   12 most pushes that wait   13 ttl of what is to be archived, seconds
--       14… events, JSON, each with its seq in it
-- Returns the new seq, or -1 if another worker owns the session. Repeating a commit changes nothing.
local s = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'uid', 'push', 'received', 'metered', 'intake_entry')
if s[1] ~= ARGV[1] then return -1 end
local before, now = tonumber(ARGV[2]), tonumber(s[2])
local first = 14
local count = #ARGV - first + 1
if now > before then return now end
if now ~= before then return redis.error_reply('SEQ expected ' .. s[2] .. ' but got ' .. ARGV[2]) end
for i = 1, count do
  local event = ARGV[first + i - 1]
  redis.call('XADD', KEYS[3], (before + i) .. '-0', 'e', event)
  redis.call('PUBLISH', KEYS[3], event)
  if s[4] == '1' and string.find(event, '"type":"final"', 1, true) then
    redis.call('XADD', KEYS[8], 'MAXLEN', '~', ARGV[12], '*', 'uid', s[3], 'e', event)
  end
end
redis.call('HSET', KEYS[1], 'seq', before + count, 'decoded', ARGV[5], 'segments', ARGV[6])
if count > 0 then redis.call('EXPIRE', KEYS[3], ARGV[10]) end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], 'checkpoint', ARGV[3], 'snapshot', ARGV[4])
  if count > 0 then redis.call('HDEL', KEYS[1], 'open') end
  redis.call('XTRIM', KEYS[2], 'MINID', ARGV[3] .. '-1')
end
if ARGV[7] == '1' then
  redis.call('HSET', KEYS[1], 'state', 'closed', 'owner', '')
  redis.call('HDEL', KEYS[1], 'open', 'snapshot', 'intake_state')
  redis.call('DEL', KEYS[2], KEYS[5])
  redis.call('XACK', KEYS[4], ARGV[9], ARGV[8])
  redis.call('XDEL', KEYS[4], ARGV[8])
  if s[7] and s[7] ~= '' then
    redis.call('XACK', KEYS[6], ARGV[11], s[7])
    redis.call('XDEL', KEYS[6], s[7])
  end
  redis.call('EXPIRE', KEYS[1], ARGV[10])
  if s[3] and s[3] ~= '' then
    redis.call('EXPIRE', KEYS[1], ARGV[13])  -- until the archive has it
    redis.call('EXPIRE', KEYS[3], ARGV[13])
    redis.call('XADD', KEYS[7], '*', 'sid', string.match(KEYS[1], ':session:(.*)$'))
    if not s[6] then
      redis.call('HINCRBY', KEYS[9], 'files', 1)
      redis.call('HINCRBY', KEYS[9], 'audio_ms', math.floor(tonumber(s[5]) / 16))
    end
  end
end
return before + count
