-- with expiry
-- The feed; prepended to the scripts that say `with feed` or `with job`. See `feed.py`.

-- Add an entry about a session or job. `id`: id of the session or job; `key`: its owner's key, hashed;
-- `uid`: its user, or ''; `seq`: number of its event; `wanted`: the owner has requested a notification.
local function add_to_feed(feed, kind, id, key, uid, seq, wanted)
  redis.call('XADD', feed, 'MAXLEN', '~', MAX_FEED, '*', 'kind', kind, 'id', id, 'key', key, 'uid', uid or '',
    'seq', string.format('%.0f', seq), 'wanted', wanted and '1' or '0')
end
