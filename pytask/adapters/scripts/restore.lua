-- Make a task anew whose hash was lost with all data, and queue it.
--
-- KEYS  1 runs (hash)  2 queue (list)  3 index of the waiting state (zset)  4 the hash
-- ARGV  1 id  2 function  3 waiting state  4 channel  5 the `requeued` event  6 the line for the history
--       7 (absent for none) data; last: lines of history kept (see history.lua)
-- Returns OK, or STATE (the hash is there, or a run of the id).
--- history.lua
redis.call('LLEN', KEYS[2])
if redis.call('EXISTS', KEYS[4]) == 1 or redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 'STATE' end
local t = redis.call('TIME')
local now = t[1] .. '.' .. string.format('%06d', t[2])
redis.call('HSET', KEYS[4], 'function', ARGV[2], 'state', ARGV[3], 'last_update', now, noted(nil, t, ARGV[6]))
if #ARGV == 8 then redis.call('HSET', KEYS[4], 'data', ARGV[7]) end
redis.pcall('ZADD', KEYS[3], now, ARGV[1])
redis.call('LPUSH', KEYS[2], ARGV[1])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 'OK'
