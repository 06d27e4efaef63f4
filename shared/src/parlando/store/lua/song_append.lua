-- with once
-- Add a song's records to the landmarks of its hashes, except to those that have the maximum number.
-- KEYS  the hashes' keys, all of one shard
-- ARGV  1 maximum size in bytes   2… the records for each key
-- SET and not APPEND, which reserves up to twice the memory.
for i = 2, #ARGV do
  local records = redis.call('GET', KEYS[i - 1]) or ''
  if #records < tonumber(ARGV[1]) then redis.call('SET', KEYS[i - 1], records .. ARGV[i]) end
end
return 1
