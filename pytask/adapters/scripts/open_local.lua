-- A pre-started task: its hash and its run in one step; it is never in the queue.
--
-- KEYS  1 runs (hash)  2 leases (zset)  3 the task's hash
-- ARGV  1 id  2 run  3 function  4 data  5 worker  6 session  7 running state  8 channel
--       9-11 the `running` event, around run and epoch  12 the line for the history
--       13 lines of history kept (see history.lua)
-- Returns verdict (OK, ALREADY, FENCED), epoch, crashes, 0, function, data.
--- history.lua
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and held ~= ARGV[2] then return {'FENCED'} end
if held then
  return {'ALREADY', redis.call('HGET', KEYS[3], 'epoch'), 0, 0, ARGV[3], ARGV[4]}
end
redis.call('ZCARD', KEYS[2])
local t = redis.call('TIME')
local us = string.format('%06d', t[2])
local es = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
redis.call('HSET', KEYS[3], 'function', ARGV[3], 'data', ARGV[4], 'state', ARGV[7], 'run', ARGV[2],
  'worker', ARGV[5], 'epoch', es, 'last_update', t[1] .. '.' .. us, 'attempts', 1, 'local', ARGV[6],
  noted(nil, t, ARGV[12]))
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], t[1] .. us, ARGV[1])
redis.call('PUBLISH', ARGV[8], ARGV[9] .. ARGV[2] .. ARGV[10] .. es .. ARGV[11])
return {'OK', es, 0, 0, ARGV[3], ARGV[4]}
