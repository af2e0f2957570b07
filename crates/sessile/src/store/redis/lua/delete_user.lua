-- Some rows of a user, where all keys are on one server: not all at once, for nothing else is done meanwhile.
-- KEYS: the user's ids. ARGV: the user, the id to keep or nothing, how all keys begin, how many ids to look at.
-- Returns how many ids are left, then the ids of the rows that are gone.
local gone, kept = { 0 }, 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[4])) do
  local bucket = ARGV[3] .. '{' .. string.sub(id, 1, 2) .. '}:'
  local of_user = redis.call('HGET', bucket .. id, 'user_id') == ARGV[1]
  if of_user and id == ARGV[2] then
    kept = 1
  else
    if of_user then
      redis.call('DEL', bucket .. id)
      redis.call('ZREM', bucket .. 'ids', id)
      redis.call('ZREM', bucket .. 'expiries', id)
      gone[#gone + 1] = id
    end
    redis.call('ZREM', KEYS[1], id)
  end
end
gone[1] = redis.call('ZCARD', KEYS[1]) - kept
return gone
