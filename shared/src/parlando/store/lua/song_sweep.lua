-- Delete the records of removed songs from the landmarks of some hashes. Safe to repeat.
-- KEYS  the hashes' keys, all of one shard
-- ARGV  1 bytes per record   2 bytes of it that are the song's number   3… numbers, as they are in a record
-- Returns the number of deleted records.
local size, head = tonumber(ARGV[1]), tonumber(ARGV[2])
local removed, deleted = {}, 0
for i = 3, #ARGV do removed[ARGV[i]] = true end
for _, key in ipairs(KEYS) do
  local records, kept = redis.call('GET', key) or '', {}
  for at = 1, #records, size do
    if not removed[string.sub(records, at, at + head - 1)] then
      kept[#kept + 1] = string.sub(records, at, at + size - 1)
    end
  end
  local count = #records / size - #kept
  if count > 0 then
    deleted = deleted + count
    if #kept > 0 then redis.call('SET', key, table.concat(kept)) else redis.call('DEL', key) end
  end
end
return deleted
