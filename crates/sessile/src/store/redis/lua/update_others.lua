-- What an update does to more than its data.
if moves then expire(expiry, ARGV[13], ARGV[14]) end
if ARGV[8] == 'keep' then return renewed(read[3]) end
local user = ARGV[11]
if ARGV[8] == 'set' then
  redis.call('HSET', row, 'user_id', user)
  local micros = redis.call('ZSCORE', expiries, id) or 0
  enter(user, string.format('%.0f', micros / 1000 + ARGV[15]))
else
  redis.call('HDEL', row, 'user_id')
  user = false
end
if not read[3] or read[3] == user then return APPLIED end
leave(read[3])
return { APPLIED, read[3] }
