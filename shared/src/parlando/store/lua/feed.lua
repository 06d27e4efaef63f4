-- with expiry
-- The feed; put in front of the scripts that say `with feed`, and of those with `job`. See `feed.py`.

-- Note that something happened to a session or job. `id`: of the session or job; `key`: its owner's, hashed;
-- `uid`: its user, or ''; `seq`: number of its event; `wanted`: does its owner want to be told.
local function add_to_feed(feed, kind, id, key, uid, seq, wanted)
  redis.call('XADD', feed, 'MAXLEN', '~', MAX_FEED, '*', 'kind', kind, 'id', id, 'key', key, 'uid', uid or '',
    'seq', string.format('%.0f', seq), 'wanted', wanted and '1' or '0')
end
