-- ARGV from 4: now, whether text is expected, the expected text, the new data, what happens to the user
-- (keep, set, clear), to the expiry (keep, extend, set) and to the data (keep, set). Unless user and expiry are
-- kept: the user, the expiry's text, its microseconds, the end of the key, and how many milliseconds a key
-- outlives its row.
local now, expiry = ARGV[4], ARGV[12]
local read = redis.call('HMGET', row, 'data', 'expires_at', 'user_id', 'rotated_from', 'attempt')
if attempt ~= '' and read[5] == attempt then return APPLIED end
if read[4] then return UNRESOLVED end
if not read[2] or read[2] <= now or read[1] ~= (ARGV[5] == '1' and ARGV[6]) then return UNMATCHED end
if ARGV[10] == 'set' then
  redis.call('HSET', row, 'data', ARGV[7], 'updated_at', now)
else
  redis.call('HSET', row, 'updated_at', now)
end
if attempt ~= '' then redis.call('HSET', row, 'attempt', attempt) end
local moves = ARGV[9] == 'set' or (ARGV[9] == 'extend' and read[2] < expiry)
-- Most updates end here, before functions are made that only others need.
if ARGV[8] == 'keep' and not moves then return APPLIED end

