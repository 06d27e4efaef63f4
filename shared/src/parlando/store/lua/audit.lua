-- with once
-- Append entries to the audit log, and drop those that are too old or too many.
-- KEYS  1 stream
-- ARGV  1 maximum number of entries   2 seconds for which entries are kept   3… entries, JSON
-- Returns the number of entries that were added.
for at = 3, #ARGV do redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'e', ARGV[at]) end
redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f', (redis.call('TIME')[1] - ARGV[2]) * 1000))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return #ARGV - 2
