-- Lifetimes of keys; prepended to the scripts that say `with expiry` or `with job`.

-- Give a key the remaining lifetime of the hash of its session or job.
local function expire_with(hash, key)
  local left = redis.call('PTTL', hash)
  if left > 0 then redis.call('PEXPIRE', key, left) end
end

-- Give KEYS from number `first` on the remaining lifetime of the session's hash, KEYS[1].
local function expire_with_hash(first)
  for number = first, #KEYS do expire_with(KEYS[1], KEYS[number]) end
end
