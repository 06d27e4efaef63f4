-- with expiry
-- Append audio to a session. Safe to repeat: the entry's id is the offset of its end.
-- KEYS  1 session hash   2 pcm stream
-- ARGV  1 writer number   2 offset of the first sample   3 PCM bytes   4 most samples not checkpointed
-- Returns {"ok", received, samples beyond the checkpoint, samples before which all is in finals, seq of the last},
--         {"full", received, backlog}, {"missing"}, {"superseded"} (a newer connection writes), {"closed"},
--         or {"lost"}: Redis has restarted without the last of its writes.
local s = redis.call('HMGET', KEYS[1], 'state', 'writer', 'received', 'checkpoint', 'settled', 'seq')
if not s[1] then return {'missing'} end
if s[2] ~= ARGV[1] then return {tonumber(s[2]) < tonumber(ARGV[1]) and 'lost' or 'superseded'} end
if s[1] ~= 'open' then return {'closed'} end
local received, backlog = tonumber(s[3]), tonumber(s[3]) - tonumber(s[4])
local stop = tonumber(ARGV[2]) + #ARGV[3] / 2
if stop <= received then return {'ok', received, backlog, s[5] or 0, s[6]} end
if tonumber(ARGV[2]) ~= received then return {'lost'} end
if backlog + #ARGV[3] / 2 > tonumber(ARGV[4]) then return {'full', received, backlog} end
redis.call('XADD', KEYS[2], string.format('%.0f-0', stop), 'p', ARGV[3])
redis.call('HSET', KEYS[1], 'received', string.format('%.0f', stop))
expire_with(KEYS[1], KEYS[2])
return {'ok', stop, stop - tonumber(s[4]), s[5] or 0, s[6]}
