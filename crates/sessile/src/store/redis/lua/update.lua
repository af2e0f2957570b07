-- ARGV from 4: now, whether text is expected, the expected text, the new data, what becomes of the user
-- (keep, set, clear), the user, what becomes of the expiry (keep, extend, set), its text, its
-- microseconds, the end of the key, and how many milliseconds a key outlives its row.
local now, user, expiry = ARGV[4], ARGV[9], ARGV[11]
local read = redis.call('HMGET', row, 'data', 'expires_at', 'user_id', 'rotated_from', 'attempt')
if attempt ~= '' and read[5] == attempt then return APPLIED end
if read[4] then return UNRESOLVED end
if not read[2] or read[2] <= now or not same(read[1], ARGV[5], ARGV[6]) then return UNMATCHED end
redis.call('HSET', row, 'data', ARGV[7], 'updated_at', now)
sign()
local moved = ARGV[10] == 'set' or (ARGV[10] == 'extend' and read[2] < expiry)
if moved then expire(expiry, ARGV[12], ARGV[13]) end
if ARGV[8] == 'keep' then return moved and renewed(read[3]) or APPLIED end
if ARGV[8] == 'set' then
  redis.call('HSET', row, 'user_id', user)
  local micros = redis.call('ZSCORE', expiries, id) or 0
  enter(user, string.format('%.0f', micros / 1000 + ARGV[14]))
else
  redis.call('HDEL', row, 'user_id')
  user = false
end
if not read[3] or read[3] == user then return APPLIED end
leave(read[3])
return { APPLIED, read[3] }
