-- Run a script once for each of several calls, whose keys are in one slot.
-- KEYS  the keys of all calls
-- ARGV  1 keys of a call   2 arguments of a call   3… the arguments of all calls
-- Returns the answers in order. An error ends it: the calls before have been made.
local keys, args, answers = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
for call = 0, #KEYS / keys - 1 do
  local its_keys, its_args = {}, {}
  for at = 1, keys do its_keys[at] = KEYS[call * keys + at] end
  for at = 1, args do its_args[at] = ARGV[2 + call * args + at] end
  answers[call + 1] = script(its_keys, its_args)
end
return answers
