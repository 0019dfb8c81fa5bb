-- E8: a new run takes the place of an old, dead one, with the data that is in the hash now.
--
-- A wish to stop that stands in the hash is kept and answered: the old run is then settled as stopped, and no new
-- one begins, since nothing replaces a stop but its being carried out, or a start that came later.
--
-- The new run has yet to prove that it lives: its epoch stands in `settling` until then (see settle.lua).
--
-- KEYS  1 runs (hash)  2 leases (zset)  3 the task's hash
-- ARGV  1 id  2 old run  3 new run  4 worker  5 data limit (bytes)  6 channel  7-9 the `reloaded`
--       event, around run and epoch  10 the wish to stop  11 the line for the history
--       12 lines of history kept (see history.lua)
-- Returns verdict (OK, ALREADY, FENCED, GONE, or the wish to stop: nothing done), epoch, crashes, size of data over the limit, function, data.
--- history.lua
local function number(text)
  local n = tonumber(text or 0)
  if not n or n ~= n or n < 0 or n > 2 ^ 53 - 2 then return 0 end
  return math.floor(n)
end

local held = redis.call('HGET', KEYS[1], ARGV[1])
if held ~= ARGV[2] and held ~= ARGV[3] then return {'FENCED'} end
redis.call('ZCARD', KEYS[2])
local size = redis.pcall('HSTRLEN', KEYS[3], 'data')
if type(size) == 'table' then return {'GONE'} end
local over = size > tonumber(ARGV[5])
local h = redis.call('HMGET', KEYS[3], 'run', 'function', 'epoch', 'crashes', over and '' or 'data', 'history',
  'control')
if h[1] ~= held then return {'GONE'} end
local crashes = number(h[4])
local func = h[2] and #h[2] <= 512 and h[2] or ''
if held == ARGV[3] then
  return {'ALREADY', string.format('%.0f', number(h[3])), crashes, over and size or 0, func, h[5]}
end
if h[7] == ARGV[10] then return {ARGV[10]} end
local t = redis.call('TIME')
local e = number(h[3]) + 1
local now_ms = t[1] * 1000 + math.floor(t[2] / 1000)
if now_ms > e then e = now_ms end
local es = string.format('%.0f', e)
local us = string.format('%06d', t[2])
redis.call('HSET', KEYS[3], 'run', ARGV[3], 'worker', ARGV[4], 'epoch', es, 'settling', es, 'last_run', ARGV[2],
  'last_update', t[1] .. '.' .. us, noted(h[6], t, ARGV[11]))
redis.call('HDEL', KEYS[3], 'control')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[2], t[1] .. us, ARGV[1])
redis.call('PUBLISH', ARGV[6], ARGV[7] .. ARGV[3] .. ARGV[8] .. es .. ARGV[9])
return {'OK', es, crashes, over and size or 0, func, h[5]}
