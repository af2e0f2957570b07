-- Takes ids without a row out of a user's index, when their time is over also by this server's clock: an id
-- is entered before its row is made. KEYS: the user's ids. ARGV: ids.
local time = redis.call('TIME')
local now = time[1] * 1000
for _, id in ipairs(ARGV) do
  local last = redis.call('ZSCORE', KEYS[1], id)
  if last and tonumber(last) < now then redis.call('ZREM', KEYS[1], id) end
end
return 1
