-- Removes the rows of a bucket that expired first. KEYS: the ids of the bucket, their expiries.
-- ARGV: now as text and in microseconds, when to look again at a row that stays, rows at most, how the rows'
-- keys begin, how users' keys begin or nothing. Returns ids and users, one after the other.
local rows, ids, gone, staying = {}, {}, {}, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[2], 'LIMIT', 0, ARGV[4])) do
  local row = ARGV[5] .. id
  local read = redis.pcall('HMGET', row, 'expires_at', 'user_id', 'rotated_from')
  local expiry, user = read[1], read[2]
  if read.err or (expiry and expiry > ARGV[1]) then
    staying[#staying + 1] = ARGV[3]
    staying[#staying + 1] = id
  else
    rows[#rows + 1] = row
    ids[#ids + 1] = id
    -- A row that Redis has removed itself was never seen to expire; one that was never finished is none.
    if expiry and not read[3] then
      gone[#gone + 1] = id
      gone[#gone + 1] = user or ''
    end
    if user and ARGV[6] ~= '' then redis.call('ZREM', ARGV[6] .. user .. '}', id) end
  end
end
if #ids > 0 then
  redis.call('DEL', unpack(rows))
  redis.call('ZREM', KEYS[1], unpack(ids))
  redis.call('ZREM', KEYS[2], unpack(ids))
end
-- Somebody else wrote these, or their expiry alone. Met again and again they would keep a purge from its end.
-- At last, for it needs memory, which a full server grants to a script that has removed something.
if #staying > 0 then redis.call('ZADD', KEYS[2], unpack(staying)) end
return gone
