-- with feed
-- Annotations; prepended to the scripts that say `with annotation`.

-- Add an annotation to the session or job whose hash is `subject`, and publish it. `head`, `tail`: its JSON up to its
-- number, and after the number and the epoch. Returns its number; -1 if there are `most` annotations.
local function add_annotation(subject, stream, channel, head, tail, most)
  local h = redis.call('HMGET', subject, 'annotations', 'events_epoch', 'created')
  local number = tonumber(h[1] or 0) + 1
  if number > tonumber(most) then return -1 end
  local annotation = head .. string.format('%.0f', number) .. ',"epoch":' .. (h[2] or h[3]) .. tail
  redis.call('HSET', subject, 'annotations', number)
  redis.call('XADD', stream, string.format('%.0f-0', number), 'a', annotation)
  redis.call('PUBLISH', channel, annotation)
  expire_with(subject, stream)
  return number
end
