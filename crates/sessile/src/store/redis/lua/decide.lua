-- Second step, on the old row: from here on it is dead, and the new row counts. What this version does not know
-- stays here until it is on the new row.
-- ARGV from 4: now, whether text is expected, the expected text, the new id, the end of the new key.
local read = redis.call('HMGET', row, 'data', 'expires_at', 'user_id', 'rotated_from', 'rotated_to', 'attempt')
if read[5] then
  if read[5] == ARGV[7] and read[6] == attempt then return { APPLIED, '', '', unpack(others(row)) } end
  return UNMATCHED
end
if read[4] then return UNRESOLVED end
if not read[2] or read[2] <= ARGV[4] or read[1] ~= (ARGV[5] == '1' and ARGV[6]) then return UNMATCHED end
local kept = others(row)
redis.call('DEL', row)
redis.call('HSET', row, 'rotated_to', ARGV[7], 'attempt', attempt, unpack(kept))
redis.call('PEXPIREAT', row, ARGV[8])
redis.call('ZREM', ids, id)
redis.call('ZREM', expiries, id)
return { APPLIED, read[3] or '', '', unpack(kept) }
