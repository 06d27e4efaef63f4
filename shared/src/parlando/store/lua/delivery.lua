-- What all scripts on deliveries share; put in front of those that say so.
-- KEYS  1 feed, of whose entries deliveries are made
--       2 records: hash, id -> JSON of the delivery   3 ready: sorted set of <lane>:<id>, all with score 0, so that
--         a lane is one range of it   4 later: ids by the time of their next attempt
--       5 working: ids by the end of their lease   6 dead: ids by the time they were given up
--       7 owners: hash, owner -> how many records it has
--       Times are unix milliseconds of this server.
-- A lane is <owner>:<destination>, both in hexadecimal.
-- A record: lane, owner, destination, fields, queued; attempts (how many have ended); state: ready, later, working
--           or dead; while working its token; next (time of the next attempt), error, detail (of the last failure).
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

-- Take a delivery out of its state; `erase` takes it off the books.
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

-- Move a delivery to `state`. `at`: when it is due (later), its lease ends (working) or it was given up (dead).
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

-- Delete the dead letters that are older than `ttl_ms`, and the oldest of those beyond `most`.
local function prune(ttl_ms, most)
  local old = redis.call('ZRANGEBYSCORE', DEAD, '-inf', now() - ttl_ms, 'LIMIT', 0, PAGE)
  local over = redis.call('ZCARD', DEAD) - #old - most
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
