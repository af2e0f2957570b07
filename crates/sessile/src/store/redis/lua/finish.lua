-- Third step, on the new row, by whoever knows that the rotation was decided. ARGV[4]: the old id. Then fields and
-- values that the old row had and this version does not know.
local from = redis.call('HGET', row, 'rotated_from')
if from == ARGV[4] then
  if #ARGV > 4 then redis.call('HSET', row, unpack(ARGV, 5)) end
  redis.call('HDEL', row, 'rotated_from')
  return APPLIED
end
if not from and redis.call('EXISTS', row) == 1 then return APPLIED end
return UNMATCHED
