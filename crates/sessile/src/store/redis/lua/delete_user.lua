-- All rows of a user, where all keys are on one server. KEYS: the user's ids.
-- ARGV: the user, the id to keep or nothing, how all keys begin. Returns the ids.
local gone = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local bucket = ARGV[3] .. '{' .. string.sub(id, 1, 2) .. '}:'
  local of_user = redis.call('HGET', bucket .. id, 'user_id') == ARGV[1]
  if of_user and id ~= ARGV[2] then
    redis.call('DEL', bucket .. id)
    redis.call('ZREM', bucket .. 'ids', id)
    redis.call('ZREM', bucket .. 'expiries', id)
    gone[#gone + 1] = id
  end
  if not (of_user and id == ARGV[2]) then redis.call('ZREM', KEYS[1], id) end
end
return gone
