-- with expiry
-- Publish an update of the analysis of a job, and keep it unless it is a partial result.
-- KEYS  1 job hash   2 updates stream
-- ARGV  1 place of the update in the order   2 kept (1/0)   3 progress in percent   4 channel
--       5 update JSON between its `seq` and its `progress`   6 the rest of the JSON, after the progress
-- Returns {place of the last kept update, written (1/0)}, or nil if the job does not exist.
-- Safe to repeat: an update whose place is not after the last kept one's is not written, so two analyzers that process
-- the same job can't write an update twice; a partial result has the place of its phase's first update. The progress
-- never falls.
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local h = redis.call('HMGET', KEYS[1], 'task_seq', 'task_place', 'task_progress')
local seq, last, place = tonumber(h[1] or 0), tonumber(h[2] or 0), tonumber(ARGV[1])
local kept = ARGV[2] == '1'
if kept and place <= last or place < last then return {last, 0} end
local progress = math.max(tonumber(ARGV[3]), tonumber(h[3] or 0))
local number, after = 'null', seq
if kept then
  seq = seq + 1
  last = place
  number = string.format('%.0f', seq)
end
local update = '{"type":"update","seq":' .. number .. ',"after":' .. string.format('%.0f', after) .. ',' .. ARGV[5] .. string.format('%.0f', progress) .. ARGV[6]
redis.call('HSET', KEYS[1], 'task_seq', seq, 'task_place', last, 'task_progress', progress, 'task_last', update)
if kept then
  redis.call('XADD', KEYS[2], number .. '-0', 'e', update)
  expire_with(KEYS[1], KEYS[2])
end
redis.call('PUBLISH', ARGV[4], update)
return {last, 1}
