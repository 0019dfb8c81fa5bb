-- Park a task whose function this worker does not know: it stays WAIT, in the parking list of that function.
--
-- Returns OK or MOVED.
--
-- `held`: the function is known but paused.  If it was resumed meanwhile, the task is MOVED and stays where it is.
-- A key of another type is met before anything is written.
--- include: names, time, index, history
call('LLEN', parking)
call('ZCARD', timers)
call('SCARD', parked)
if call('HEXISTS', runs, id) == 1 then return 'MOVED' end
local h = call('HMGET', hash, 'function', 'state', 'history')
if h[1] ~= func then return 'MOVED' end
if not call('LPOS', source, id, 'RANK', -1, 'MAXLEN', 1024) then return 'MOVED' end
if held then
  local still = false
  for _, name in ipairs(call('SMEMBERS', paused_functions)) do still = still or name == func or name == '*' end
  if not still then return 'MOVED' end
end
local from = index[h[2]] and h[2] or waiting
call('HSET', hash, 'state', waiting, 'last_update', now, noted(h[3], from .. line))
call('PERSIST', hash)
if index[h[2]] then pcall('ZREM', index[h[2]], id) end
pcall('ZADD', index[waiting], now, id)
call('SADD', parked, func)
call('ZREM', timers, id)
call('LPUSH', parking, id)
call('LREM', source, -1, id)
call('PUBLISH', channel, event)
-- A running worker that knows the function takes it from there at once.
if not held then call('PUBLISH', hint_channel, func) end
return 'OK'
