-- Create the hash and the run of a pre-started task in one step; it is never in the queue.
--
-- Returns verdict (OK, ALREADY, FENCED, or GONE: see claim.lua), epoch, crashes, 0, function, data.
--- include: names, time, now_us, now_ms, whole, number, history
local held = call('HGET', runs, id)
if held and held ~= new_run then return {'FENCED'} end
if held then
  local h = pcall('HMGET', hash, 'run', 'epoch')
  if h[1] ~= held then return {'GONE'} end
  return {'ALREADY', whole(number(h[2])), 0, 0, func, data}
end
call('ZCARD', leases)
local epoch = whole(now_ms)
call('HSET', hash, 'function', func, 'data', data, 'state', running, 'run', new_run, 'worker', worker,
  'epoch', epoch, 'last_update', now, 'attempts', 1, 'local', session, noted(nil, line))
call('HSET', runs, id, new_run)
call('ZADD', leases, now_us, id)
call('PUBLISH', channel, event[1] .. new_run .. event[2] .. epoch .. event[3])
return {'OK', epoch, 0, 0, func, data}
