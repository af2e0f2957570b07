-- Fields of a row that this version of the program does not know, and their values, one after the other: a later
-- version, or somebody else, has put them there, and a rotation carries them along.
local OWN = {
  user_id = true, data = true, created_at = true, expires_at = true, updated_at = true,
  attempt = true, rotated_from = true, rotated_to = true,
}
local function others(key)
  local names, found = {}, {}
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if not OWN[name] then names[#names + 1] = name end
  end
  if #names == 0 then return found end
  for at, value in ipairs(redis.call('HMGET', key, unpack(names))) do
    found[#found + 1] = names[at]
    found[#found + 1] = value
  end
  return found
end
