-- Lifetimes; put in front of the scripts that say `with expiry`, and of those with `job`.

-- Let a key live as long as the hash of its session or job.
local function expire_with(hash, key)
  local left = redis.call('PTTL', hash)
  if left > 0 then redis.call('PEXPIRE', key, left) end
end

-- Let KEYS from number `first` on live as long as the session's hash, which is KEYS[1].
local function expire_with_hash(first)
  for number = first, #KEYS do expire_with(KEYS[1], KEYS[number]) end
end
