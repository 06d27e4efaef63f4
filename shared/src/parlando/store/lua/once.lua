-- Wrapper for the scripts that say `with once`; their text becomes the function `script`.
-- Makes a call safe to repeat when its answer is lost: the answer is stored together with the effect, under the
-- id of the call. A second run of the same call returns the stored answer and changes nothing.
-- The last of KEYS is the key of the answer. An error is not stored, because a failed script has changed nothing.
local answer = redis.call('GET', KEYS[#KEYS])
if answer then return cmsgpack.unpack(answer) end
local value = script()
if type(value) ~= 'table' or not value.err then
  redis.call('SET', KEYS[#KEYS], cmsgpack.pack(value), 'EX', ANSWER_TTL_S)
end
return value
