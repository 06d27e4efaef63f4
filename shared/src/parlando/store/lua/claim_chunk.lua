-- with job once
-- Begin an attempt at a chunk. The queue has delivered its entry before.
-- ARGV  1 index   2 entry id   3 first 16 digits of the hashed key   4 maximum number of attempts
-- Returns {options, language or false}, or nil if there is nothing to do.
local j = redis.call('HMGET', JOB, 'state', 'pool')
local state = j[1]
if not state or j[2] ~= POOL or redis.call('HGET', PARTS, 'e' .. ARGV[1]) ~= ARGV[2] then
  drop(CHUNKS, TRANSCRIBERS, ARGV[2])
  if not state then less('chunk:' .. ARGV[3]) end
  return nil
end
if redis.call('HINCRBY', PARTS, 'a' .. ARGV[1], 1) > tonumber(ARGV[4]) then
  local why = redis.call('HGET', PARTS, 'w' .. ARGV[1]) or 'its transcribers terminated'
  give_up(ARGV[1], ARGV[4], why)
  return nil
end
return redis.call('HMGET', JOB, 'options', 'language')
