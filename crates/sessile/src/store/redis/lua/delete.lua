-- ARGV from 4: whether it has to be a certain user's, that user.
local read = redis.call('HMGET', row, 'user_id', 'rotated_from', 'rotated_to')
if read[3] then return UNMATCHED end
if read[2] then return UNRESOLVED end
if ARGV[4] == '1' and read[1] ~= ARGV[5] then return UNMATCHED end
if redis.call('DEL', row) == 0 then return UNMATCHED end
redis.call('ZREM', ids, id)
redis.call('ZREM', expiries, id)
leave(read[1])
return { APPLIED, read[1] or '' }
