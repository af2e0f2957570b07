-- Last step: takes away what stands for the other row. ARGV[4]: the field, ARGV[5]: the other id.
if redis.call('HGET', row, ARGV[4]) ~= ARGV[5] then return UNMATCHED end
if attempt ~= '' and redis.call('HGET', row, 'attempt') ~= attempt then return UNMATCHED end
redis.call('DEL', row)
redis.call('ZREM', ids, id)
redis.call('ZREM', expiries, id)
return APPLIED
