-- What the scripts on one row do with it.

local function sign()
  if attempt ~= '' then redis.call('HSET', row, 'attempt', attempt) end
end

local function enter(user, score)
  if users ~= '' and user then redis.call('ZADD', users .. user .. '}', score, id) end
end

local function leave(user)
  if users ~= '' and user then redis.call('ZREM', users .. user .. '}', id) end
end

-- Writes a whole row: ARGV[at] its expiry in microseconds, then the end of its key in milliseconds, then
-- columns and values.
local function put(at)
  redis.call('HSET', row, unpack(ARGV, at + 2))
  sign()
  redis.call('ZADD', ids, 0, id)
  redis.call('ZADD', expiries, ARGV[at], id)
  for field = at + 2, #ARGV, 2 do
    if ARGV[field] == 'user_id' then enter(ARGV[field + 1], ARGV[at + 1]) end
  end
  redis.call('PEXPIREAT', row, ARGV[at + 1])
end

-- Moves the expiry: the text, microseconds, the end of the key in milliseconds.
local function expire(text, micros, last)
  redis.call('HSET', row, 'expires_at', text)
  redis.call('ZADD', expiries, micros, id)
  redis.call('PEXPIREAT', row, last)
end

-- The answer when the expiry has moved: where users' indexes are on other servers, whose the row is.
local function renewed(user)
  if users == '' and user then return { APPLIED, '', user } end
  return APPLIED
end
