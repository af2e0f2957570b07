-- Begins every script on one row. KEYS: the row, the ids of its bucket, their expiries.
-- ARGV[1]: the id. ARGV[2]: how users' keys begin, empty where they are on other servers.
-- ARGV[3]: names the attempt, so that one which is sent twice is made once; empty where none is.
local row, ids, expiries = KEYS[1], KEYS[2], KEYS[3]
local id, users, attempt = ARGV[1], ARGV[2], ARGV[3]
local APPLIED, UNMATCHED, UNRESOLVED = 1, 0, 2
