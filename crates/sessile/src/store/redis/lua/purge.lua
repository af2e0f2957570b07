-- Removes the rows of a bucket that expired first. KEYS: the ids of the bucket, their expiries.
-- ARGV: now as text and in microseconds, rows at most, how the rows' keys begin, how users' keys begin or
-- nothing. Returns ids and users, one after the other.
local gone = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])) do
  local row = ARGV[4] .. id
  local read = redis.call('HMGET', row, 'expires_at', 'user_id', 'rotated_from')
  if not read[1] or read[1] <= ARGV[1] then
    redis.call('DEL', row)
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZREM', KEYS[2], id)
    -- A row that Redis has removed itself was never seen to expire; one that was never finished is none.
    if read[1] and not read[3] then
      gone[#gone + 1] = id
      gone[#gone + 1] = read[2] or ''
    end
    if read[2] and ARGV[5] ~= '' then redis.call('ZREM', ARGV[5] .. read[2] .. '}', id) end
  end
end
return gone
