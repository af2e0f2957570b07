-- ARGV from 4: now, the new expiry's text, its microseconds, the end of the key.
local now, expiry = ARGV[4], ARGV[5]
local read = redis.call('HMGET', row, 'expires_at', 'rotated_from', 'attempt', 'user_id')
if attempt ~= '' and read[3] == attempt then return APPLIED end
if read[2] then return UNRESOLVED end
if not read[1] or read[1] <= now or read[1] >= expiry then return UNMATCHED end
expire(expiry, ARGV[6], ARGV[7])
redis.call('HSET', row, 'updated_at', now)
sign()
return renewed(read[4])
