-- What scripts on sessions share; put in front of those that say `with session`.

-- Let a key of a session live as long as the session's hash.
local function expire_with(hash, key)
  local left = redis.call('PTTL', hash)
  if left > 0 then redis.call('PEXPIRE', key, left) end
end
