-- Replace an old, dead run with a new one, with the data now in the hash, and what the old one saved ("" nothing new).
--
-- A request to stop in the hash is kept and returned: the old run is then settled as stopped, and no new one
-- begins. Only its execution, or a later start, removes a stop request.
--
-- The new run is unconfirmed until it has proved that it lives: `settling` has its epoch (see settle.lua).
--
-- No new run of a paused task begins either: the old one is then released, and the task waits until it is resumed. (One
-- that was pre-started would be lost by that: its new run begins, and its owner pauses it.)
--
-- Returns verdict (OK, ALREADY, FENCED, GONE, PAUSED, or the request to stop: nothing done), epoch, crashes, size of data over the limit, function, data.
--- include: names, time, now_us, now_ms, whole, number, history
local held = call('HGET', runs, id)
if held ~= old_run and held ~= new_run then return {'FENCED'} end
call('ZCARD', leases)
local size = pcall('HSTRLEN', hash, 'data')
if type(size) == 'table' then return {'GONE'} end
local over = size > max_data
local h = call('HMGET', hash, 'run', 'function', 'epoch', 'crashes', over and '' or 'data', 'history', 'control', 'paused', 'local')
if h[1] ~= held then return {'GONE'} end
local crashes = number(h[4])
local func = h[2] and #h[2] <= 512 and h[2] or ''
if held == new_run then
  return {'ALREADY', whole(number(h[3])), crashes, over and size or 0, func, h[5]}
end
if h[7] == stop then return {stop} end
if h[8] and not h[9] then return {'PAUSED'} end
local epoch = whole(math.max(number(h[3]) + 1, now_ms))
call('HSET', hash, 'run', new_run, 'worker', worker, 'epoch', epoch, 'settling', epoch, 'last_run', old_run,
  'last_update', now, noted(h[6], line))
call('HDEL', hash, 'control')
if saved ~= '' then call('HSET', hash, 'saved', saved, 'saved_at', now) end
call('HSET', runs, id, new_run)
call('ZADD', leases, now_us, id)
call('PUBLISH', channel, event[1] .. new_run .. event[2] .. epoch .. event[3])
return {'OK', epoch, crashes, over and size or 0, func, h[5]}
