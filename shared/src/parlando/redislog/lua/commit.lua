-- Append kept events, publish them, move the checkpoint and trim the audio below it: all or nothing.
-- KEYS  1 session hash   2 pcm stream   3 events stream and channel   4 sessions stream
-- ARGV  1 epoch   2 seq before the first event   3 checkpoint ('' to leave it)   4 snapshot, JSON
--       5 samples decoded   6 segments finished   7 close (1/0)   8 entry id   9 group   10 ttl, seconds
--       11… events, JSON, each with its seq in it
-- Returns the new seq, or -1 if another worker owns the session. Repeating a commit changes nothing.
local s = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
if s[1] ~= ARGV[1] then return -1 end
local before, now = tonumber(ARGV[2]), tonumber(s[2])
local count = #ARGV - 10
if now > before then return now end
if now ~= before then return redis.error_reply('SEQ expected ' .. s[2] .. ' but got ' .. ARGV[2]) end
for i = 1, count do
  redis.call('XADD', KEYS[3], (before + i) .. '-0', 'e', ARGV[10 + i])
  redis.call('PUBLISH', KEYS[3], ARGV[10 + i])
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
  redis.call('HDEL', KEYS[1], 'open', 'snapshot')
  redis.call('DEL', KEYS[2])
  redis.call('XACK', KEYS[4], ARGV[9], ARGV[8])
  redis.call('XDEL', KEYS[4], ARGV[8])
  redis.call('EXPIRE', KEYS[1], ARGV[10])
end
return before + count
