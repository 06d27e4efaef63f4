-- with delivery once
-- Lease deliveries that may start now, round-robin over the lanes; skips lanes without a free slot.
-- ARGV  1 token   2 maximum number to lease   3 lease, ms   4 slots per owner   5 slots per destination
--       6 slots of all failing destinations together   7 slots in use, JSON: {owners: {name: slots},
--         destinations: {…}, failing: {destination: 1}, failing_slots: n}   8 lane after which to begin
--       9 maximum number of attempts   10 TTL of the keys, seconds
-- Returns {lane of the last one, id, record, id, record …}.
-- An expired lease counts as a failed attempt: its worker has terminated.
local token, free, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local by_owner, by_destination, by_failing = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local use = cjson.decode(ARGV[7])
local answer = {ARGV[8]}

local function add(id, record)
  answer[#answer + 1] = id
  answer[#answer + 1] = cjson.encode(record)
end

local at = now()
for _, id in ipairs(redis.call('ZRANGEBYSCORE', WORKING, '-inf', at, 'LIMIT', 0, PAGE)) do
  local record = stored(id)
  if not record then
    redis.call('ZREM', WORKING, id)
  else
    record.attempts = record.attempts + 1
    record.error, record.detail = 'abandoned', 'The gateway that made this attempt terminated'
    move(id, record, record.attempts >= tonumber(ARGV[9]) and 'dead' or 'ready', at)
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', LATER, '-inf', at, 'LIMIT', 0, PAGE)) do
  local record = stored(id)
  if record then move(id, record, 'ready') else redis.call('ZREM', LATER, id) end
end

local function in_use(kind, name) return use[kind][name] or 0 end

local function is_full(destination)
  local used = in_use('destinations', destination)
  if use.failing[destination] then return used >= 1 or use.failing_slots >= by_failing end
  return used >= by_destination
end

local function start(member, owner, destination, id)
  local record = stored(id)
  redis.call('ZREM', READY, member)
  if not record then return end
  record.token = token
  move(id, record, 'working', at + lease)
  add(id, record)
  answer[1] = owner .. ':' .. destination
  free = free - 1
  use.owners[owner] = in_use('owners', owner) + 1
  use.destinations[destination] = in_use('destinations', destination) + 1
  if use.failing[destination] then use.failing_slots = use.failing_slots + 1 end
end

-- Start at most one delivery of each lane, from `low` on. Returns whether any was started.
local function pass(low)
  local before = free
  while free > 0 do
    local member = redis.call('ZRANGEBYLEX', READY, low, '+', 'LIMIT', 0, 1)[1]
    if not member then break end
    local owner, destination, id = string.match(member, '^(%x+):(%x+):(.+)$')
    if in_use('owners', owner) >= by_owner then
      low = '[' .. owner .. ';'  -- ';' follows ':' in ASCII: skips all lanes of the owner
    else
      if not is_full(destination) then start(member, owner, destination, id) end
      low = '[' .. owner .. ':' .. destination .. ';'
    end
  end
  return free < before
end

if ARGV[8] ~= '' then pass('[' .. ARGV[8] .. ';') end
while free > 0 and pass('-') do end
expire(ARGV[10])
return answer
