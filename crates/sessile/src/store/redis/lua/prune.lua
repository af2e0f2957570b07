-- Takes ids out of a bucket's index whose rows Redis has removed. KEYS: the ids, their expiries.
-- ARGV: how the rows' keys begin, then ids.
for at = 2, #ARGV do
  if redis.call('EXISTS', ARGV[1] .. ARGV[at]) == 0 then
    redis.call('ZREM', KEYS[1], ARGV[at])
    redis.call('ZREM', KEYS[2], ARGV[at])
  end
end
return 1
