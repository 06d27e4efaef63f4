-- Definitions shared by the delivery scripts; prepended to the scripts that name it.
-- KEYS  1 feed, the source of the deliveries
--       2 records: hash, id -> delivery, JSON   3 ready: sorted set of <lane>:<id>, all with score 0, so that
--         each lane is one lexicographic range   4 later: ids by the time of their next attempt
--       5 working: ids by the end of their lease   6 dead: ids by the time they became dead letters
--       7 owners: hash, owner -> number of its records
--       Times are unix milliseconds of the Redis server.
-- A lane is <owner>:<destination>, both in hexadecimal.
-- Fields of a record: lane, owner, destination, fields, queued; attempts (ended attempts); state: ready, later, working
--           or dead; token (while working); next (time of the next attempt); error, detail (of the last failure).
local FEED, RECORDS, READY, LATER, WORKING, DEAD, OWNERS = unpack(KEYS)
local PAGE = 100

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function stored(id)
  local found = redis.call('HGET', RECORDS, id)
  return found and cjson.decode(found)
end

local function store(id, record)
  redis.call('HSET', RECORDS, id, cjson.encode(record))
end

local function owner_of(record)
  return string.match(record.lane, '^%x+')
end

-- Remove a delivery from all state sets and the records; `erase` also decreases its owner's count.
local function unlink(id, record)
  redis.call('HDEL', RECORDS, id)
  redis.call('ZREM', READY, record.lane .. ':' .. id)
  redis.call('ZREM', LATER, id)
  redis.call('ZREM', WORKING, id)
  redis.call('ZREM', DEAD, id)
end

local function erase(id, record)
  unlink(id, record)
  local owner = owner_of(record)
  if redis.call('HINCRBY', OWNERS, owner, -1) <= 0 then redis.call('HDEL', OWNERS, owner) end
end

-- Move a delivery to `state`. `at`: when it is due (later), its lease ends (working) or it became a dead letter (dead).
local function move(id, record, state, at)
  unlink(id, record)
  record.state = state
  if state ~= 'working' then record.token = nil end
  record.next = state == 'later' and at or nil
  store(id, record)
  if state == 'ready' then redis.call('ZADD', READY, 0, record.lane .. ':' .. id)
  elseif state == 'later' then redis.call('ZADD', LATER, at, id)
  elseif state == 'working' then redis.call('ZADD', WORKING, at, id)
  else redis.call('ZADD', DEAD, at, id) end
end

-- Delete the dead letters older than `ttl_ms`, and the oldest ones beyond `maximum`.
local function prune(ttl_ms, maximum)
  local old = redis.call('ZRANGEBYSCORE', DEAD, '-inf', now() - ttl_ms, 'LIMIT', 0, PAGE)
  local over = redis.call('ZCARD', DEAD) - #old - maximum
  if over > 0 then
    for _, id in ipairs(redis.call('ZRANGE', DEAD, #old, #old + math.min(over, PAGE) - 1)) do old[#old + 1] = id end
  end
  for _, id in ipairs(old) do
    local record = stored(id)
    if record then erase(id, record) else redis.call('ZREM', DEAD, id) end
  end
end

local function expire(ttl_s)
  for _, key in ipairs({RECORDS, READY, LATER, WORKING, DEAD, OWNERS}) do redis.call('EXPIRE', key, ttl_s) end
end
