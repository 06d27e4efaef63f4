-- with feed usage
-- Definitions shared by the job scripts; prepended to the scripts that name it.
-- KEYS  1 job hash   2 chunks: e<n> queue entry of chunk n, a<n> its attempts, w<n> reason of its last failure,
--         r<n> its result while results of earlier chunks are missing, v<n> its voices
--         e-1, a-1: the step that labels the speakers, after all chunks
--       3 events stream and channel   4 jobs stream   5 chunks stream of its pool   6 waiting jobs (of a job without a pool: the unassigned jobs)
--       7 virtual times of the waiting jobs   8 shares of its pool: job:<key> and chunk:<key> count admitted jobs and queued
--         chunks, `keys` the number of keys that have admitted jobs
--       9 feed   10 usage of the day   11 list of the key's jobs
--       12 annotations   13 annotation names   14 updates of its analysis   15 queue of jobs to be analysed
local JOB, PARTS, EVENTS, JOBS, CHUNKS, WAITING, FLOWS, SHARES, FEED, USAGE, LIST, NOTES, NOTE_NAMES, UPDATES, TASKS =
  unpack(KEYS)
local PROCESSORS, TRANSCRIBERS = 'processors', 'transcribers'
local ID = string.match(JOB, ':job:(.*)$')
local POOL = string.match(CHUNKS, ':chunks:(.*)$')

local function now()
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end

local function ended(state)
  return state == 'completed' or state == 'failed' or state == 'cancelled'
end

-- Change the counter `what` (job:<key> or chunk:<key>) by `by`. `more` and `less` also count the keys: with the first
-- and the last job of a key.
local function count(what, by)
  local found = redis.call('HINCRBY', SHARES, what, by)
  if found <= 0 then redis.call('HDEL', SHARES, what) end
  return found
end

local function more(what)
  if count(what, 1) == 1 and string.sub(what, 1, 4) == 'job:' then count('keys', 1) end
  redis.call('EXPIRE', SHARES, LONG_TTL_S)
end

local function less(what)
  if count(what, -1) == 0 and string.sub(what, 1, 4) == 'job:' then count('keys', -1) end
end

local function drop(stream, group, entry)
  redis.call('XACK', stream, group, entry)
  redis.call('XDEL', stream, entry)
end

-- Add the job to the waiting jobs, in the order of start-time fair queueing (Goyal et al., 1996): each key and
-- priority is a flow; the tag of a job is the virtual time, or the last finish time of its flow if that is later.
-- `key`: hashed. `weight`: of the priority.
local function wait_for_admission(key, priority, weight)
  local owner = string.sub(key, 1, 16)
  local flow = owner .. ':' .. priority
  local times = redis.call('HMGET', FLOWS, 'now', flow)
  local tag = math.max(tonumber(times[1] or 0), tonumber(times[2] or 0))
  redis.call('HSET', FLOWS, flow, string.format('%.17g', tag + 1 / tonumber(weight)))
  redis.call('ZADD', WAITING, string.format('%.17g', tag), owner .. ':' .. POOL .. ':' .. ID)
  redis.call('EXPIRE', WAITING, LONG_TTL_S)
  redis.call('EXPIRE', FLOWS, LONG_TTL_S)
end

-- Decoded audio divided by all audio. Never less than a value reported before; 1 only for a completed job.
local function progress()
  local j = redis.call('HMGET', JOB, 'decoded', 'audio', 'expected', 'position', 'shown', 'cut', 'state')
  local whole = j[6] and tonumber(j[2]) or math.max(tonumber(j[3]), tonumber(j[4]))
  local share = 0
  if j[7] == 'completed' then share = 1 elseif whole > 0 then share = tonumber(j[1]) / whole end
  if j[7] ~= 'completed' then share = math.min(share, 0.99) end
  share = math.max(share, tonumber(j[5]))
  redis.call('HSET', JOB, 'shown', string.format('%.4f', share))
  return share
end

-- Append an event and publish it. `more`: further JSON members with a leading comma, or ''.
local function emit(kind, more)
  local seq = redis.call('HINCRBY', JOB, 'seq', 1)
  local j = redis.call('HMGET', JOB, 'state', 'created')
  local event = string.format('{"type":"%s","seq":%.0f,"epoch":%s,"job_id":"%s","status":"%s","progress":%.4f%s}',
    kind, seq, j[2], ID, j[1], progress(), more)
  redis.call('XADD', EVENTS, string.format('%.0f-0', seq), 'e', event)
  redis.call('PUBLISH', EVENTS, event)
  redis.call('HSET', JOB, 'updated', now())
  expire_with(JOB, EVENTS)
end

-- End the job. `why`: JSON of the error, or ''. Its entry in the jobs queue stays with the audio-processor that owns
-- it, which has to delete the audio.
local function finish(state, why)
  local j = redis.call('HMGET', JOB, 'key', 'audio', 'ttl', 'callback', 'api_key')
  local parts = redis.call('HGETALL', PARTS)
  for i = 1, #parts, 2 do
    if string.sub(parts[i], 1, 1) == 'e' then
      drop(CHUNKS, TRANSCRIBERS, parts[i + 1])
      less('chunk:' .. string.sub(j[1], 1, 16))
    end
  end
  redis.call('DEL', PARTS)
  redis.call('ZREM', WAITING, string.sub(j[1], 1, 16) .. ':' .. POOL .. ':' .. ID)
  redis.call('HSET', JOB, 'state', state, 'ended', now(), 'error', why)
  if state == 'cancelled' then redis.call('DEL', EVENTS) end
  if state == 'completed' then
    count_usage(USAGE, j[1], 'jobs', 1)
    count_usage(USAGE, j[1], 'files', 1)
    count_audio(USAGE, j[1], j[5], 'job_ms', math.floor(tonumber(j[2]) / 16))
  end
  emit(state, why ~= '' and ',"error":' .. why or '')
  redis.call('EXPIRE', JOB, j[3])
  redis.call('EXPIRE', EVENTS, j[3])
  if state ~= 'cancelled' then
    local seq = redis.call('HGET', JOB, 'seq')
    add_to_feed(FEED, 'job_' .. state, ID, j[1], '', tonumber(seq), j[4] == '1')
  end
end

-- All chunks have results: complete the job, after the step that labels its speakers if it has one.
local function complete()
  local j = redis.call('HMGET', JOB, 'diarize', 'key', 'done')
  if j[1] ~= '1' or j[3] == '0' then
    finish('completed', '')
    return
  end
  local entry = redis.call('XADD', CHUNKS, '*', 'job', ID, 'index', -1, 'key', j[2],
    'what', '{"start":0,"speech":[],"covered_samples":0}', 'pcm', '')
  redis.call('EXPIRE', CHUNKS, LONG_TTL_S)
  redis.call('HSET', PARTS, 'e-1', entry)
  expire_with(JOB, PARTS)
  more('chunk:' .. string.sub(j[2], 1, 16))
end

-- Attempts at a chunk are used up: the job fails. Without the step that labels the speakers it is complete, unless
-- it enrols a speaker: the voice, which this step computes, is its only result.
local function give_up(index, attempts, why)
  local step = 'Chunk ' .. index
  if index == '-1' then
    if not cjson.decode(redis.call('HGET', JOB, 'options')).enrol then
      finish('completed', '')
      return
    end
    step = 'The computation of the voice'
  end
  finish('failed', cjson.encode({code = 'chunk_failed',
    message = step .. ' failed ' .. attempts .. ' times: ' .. why}))
end
