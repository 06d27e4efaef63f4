-- Audio of running sessions that isn't in the usage yet; prepended to the scripts that say `with pending`. The hash has
-- for each session `<ms>:<id of its key>`, and the sums: `+` of the owner, `+<id>` of a key.

local function add_pending(hash, field, ms)
  if ms ~= 0 and redis.call('HINCRBY', hash, field, ms) == 0 then redis.call('HDEL', hash, field) end
end

-- Set the audio of a session: `ms`, or nil to forget the session. `key`: id of its key.
local function set_pending(hash, session, ms, key)
  local before, of = string.match(redis.call('HGET', hash, session) or '', '^(%d+):(.*)$')
  if before then
    add_pending(hash, '+', -tonumber(before))
    add_pending(hash, '+' .. of, -tonumber(before))
    redis.call('HDEL', hash, session)
  end
  if ms then
    add_pending(hash, '+', tonumber(ms))
    add_pending(hash, '+' .. key, tonumber(ms))
    redis.call('HSET', hash, session, ms .. ':' .. key)
  end
end

