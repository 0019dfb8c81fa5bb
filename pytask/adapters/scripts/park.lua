-- A7: a function that this worker does not know.  The task stays WAIT, and waits in a list of that function.
--
-- KEYS  1 runs (hash)  2 the list it is in  3 the parking list  4 names of parked functions (set)
--       5-8 indexes of the resting states (zsets)  9 the hash
-- ARGV  1 id  2 function  3 waiting state  4 channel  5 the `parked` event  6 channel of the hint
--       7-10 names of the resting states  11 the line for the history, without the state it was in
--       12 lines of history kept (see history.lua)
-- Returns OK or MOVED.
-- A key of another type is met before anything is written.
--- history.lua
redis.call('LLEN', KEYS[3])
redis.call('SCARD', KEYS[4])
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 'MOVED' end
local h = redis.call('HMGET', KEYS[9], 'function', 'state', 'history')
if h[1] ~= ARGV[2] then return 'MOVED' end
if not redis.call('LPOS', KEYS[2], ARGV[1], 'RANK', -1, 'MAXLEN', 1024) then return 'MOVED' end
local t = redis.call('TIME')
local now = t[1] .. '.' .. string.format('%06d', t[2])
local from = ARGV[3]
for i = 7, 10 do
  if ARGV[i] == h[2] then from = h[2] end
end
redis.call('HSET', KEYS[9], 'state', ARGV[3], 'last_update', now, noted(h[3], t, from .. ARGV[11]))
redis.call('PERSIST', KEYS[9])
for i = 1, 4 do
  if ARGV[6 + i] == h[2] then redis.pcall('ZREM', KEYS[4 + i], ARGV[1]) end
  if ARGV[6 + i] == ARGV[3] then redis.pcall('ZADD', KEYS[4 + i], now, ARGV[1]) end
end
redis.call('SADD', KEYS[4], ARGV[2])
redis.call('LPUSH', KEYS[3], ARGV[1])
redis.call('LREM', KEYS[2], -1, ARGV[1])
redis.call('PUBLISH', ARGV[4], ARGV[5])
-- A running worker that knows the function takes it from there at once.
redis.call('PUBLISH', ARGV[6], ARGV[2])
return 'OK'
