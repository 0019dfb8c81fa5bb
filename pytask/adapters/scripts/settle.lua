-- E18: the run that a reload began lives: it is no longer one that has yet to prove it (see reload.lua).
--
-- KEYS  1 runs (hash)  2 the task's hash
-- ARGV  1 id  2 run
-- Returns OK, FENCED or GONE.
--
-- Its only write needs no memory.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 'FENCED' end
local h = redis.pcall('HMGET', KEYS[2], 'run')
if h.err or h[1] ~= ARGV[2] then return 'GONE' end
redis.call('HDEL', KEYS[2], 'settling')
return 'OK'
