-- Renew the lease on a chunk, if this worker still has it.
-- KEYS  1 chunks stream
-- ARGV  1 group   2 worker id   3 entry id
-- Returns 1, or 0 if another worker has taken the chunk over, or it is done.
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2]) == 0 then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'JUSTID')
return 1
