-- Usage; prepended to the scripts that say `with usage` or `with job`. See `usage.py`.

-- Add `by` to what an owner has used. `usage`: the hash of the day; `key`: the owner's key, hashed; `what`: a name of
-- `usage.py`. The lifetime is set once, so that a gateway may change it.
local function count_usage(usage, key, what, by)
  if by == 0 then return end
  redis.call('HINCRBY', usage, string.sub(key or '', 1, 16) .. ':' .. what, string.format('%.0f', by))
  if redis.call('TTL', usage) < 0 then redis.call('EXPIRE', usage, USAGE_TTL_S) end
end

-- The same of audio, which is counted for the API key of the work too, as `key-<id>_ms` (see `key_usage.py`), if it has
-- one. `api_key`: its id.
local function count_audio(usage, key, api_key, what, ms)
  count_usage(usage, key, what, ms)
  if api_key and api_key ~= '' then count_usage(usage, key, 'key-' .. api_key .. '_ms', ms) end
end

-- Count what a language model has used for a result: `requests`, `input` and `output` tokens, `micros`.
local function count_spent(usage, key, requests, input, output, micros)
  count_usage(usage, key, 'llm_requests', tonumber(requests))
  count_usage(usage, key, 'llm_input_tokens', tonumber(input))
  count_usage(usage, key, 'llm_output_tokens', tonumber(output))
  count_usage(usage, key, 'llm_micros', tonumber(micros))
end
