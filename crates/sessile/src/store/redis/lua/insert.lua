-- ARGV from 4: the row, as `put` takes it.
if redis.call('EXISTS', row) == 1 then
  if attempt ~= '' and redis.call('HGET', row, 'attempt') == attempt then return APPLIED end
  return UNMATCHED
end
put(4)
return APPLIED
