-- Both rows on one server. KEYS from 4: the new row, the ids of its bucket, their expiries.
-- ARGV from 4: now, whether text is expected, the expected text, the new id, and the new row, as `put`
-- takes it.
if attempt ~= '' and redis.call('HGET', KEYS[4], 'attempt') == attempt then return APPLIED end
local read = redis.call('HMGET', row, 'data', 'expires_at', 'user_id', 'rotated_from')
if read[4] then return UNRESOLVED end
if not read[2] or read[2] <= ARGV[4] or read[1] ~= (ARGV[5] == '1' and ARGV[6]) then return UNMATCHED end
if KEYS[4] ~= row and redis.call('EXISTS', KEYS[4]) == 1 then return UNMATCHED end
-- What needs memory comes first, so that a full server refuses all of it.
redis.call('ZADD', KEYS[5], 0, ARGV[7])
local kept = others(row)
redis.call('DEL', row)
redis.call('ZREM', ids, id)
redis.call('ZREM', expiries, id)
leave(read[3])
row, ids, expiries, id = KEYS[4], KEYS[5], KEYS[6], ARGV[7]
put(8)
if #kept > 0 then redis.call('HSET', row, unpack(kept)) end
return { APPLIED, read[3] or '' }
