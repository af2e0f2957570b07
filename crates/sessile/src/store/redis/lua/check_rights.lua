-- Which commands the user may not run on which keys. ARGV: a row, then indexes. Returns commands and keys.
local denied = {}
-- Redis 7 and later can be asked.
if not redis.acl_check_cmd then return denied end
local function check(command, key, ...)
  if not redis.acl_check_cmd(command, key, ...) then denied[#denied + 1] = command .. ' ' .. key end
end
local row = ARGV[1]
for _, command in ipairs({ 'EXISTS', 'DEL', 'HKEYS', 'HGETALL' }) do check(command, row) end
for _, command in ipairs({ 'HMGET', 'HGET', 'HDEL' }) do check(command, row, 'data') end
check('HSET', row, 'data', '')
check('PEXPIREAT', row, '1')
for at = 2, #ARGV do
  check('ZADD', ARGV[at], '0', row)
  check('ZREM', ARGV[at], row)
  check('ZSCORE', ARGV[at], row)
  check('ZRANGE', ARGV[at], '0', '-1')
end
return denied
