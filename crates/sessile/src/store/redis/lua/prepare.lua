-- First step of a rotation between two slots, on the new row, which does not count yet.
-- ARGV from 4: the old id, and the new row, as `put` takes it.
if redis.call('EXISTS', row) == 1 then
  if redis.call('HGET', row, 'attempt') == attempt then return APPLIED end
  return UNMATCHED
end
put(5)
redis.call('HSET', row, 'rotated_from', ARGV[4])
return APPLIED
