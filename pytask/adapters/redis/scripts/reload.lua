-- Replace an old, dead run with a new one, with the data now in the hash, and what the old one saved ("" nothing new).
--
-- A request to stop in the hash is kept and returned: the old run is then settled as stopped, and no new one
-- begins. Only its execution, or a later start, removes a stop request.
--
-- The new run is unconfirmed until it has proved that it lives: `settling` has its epoch (see settle.lua).
-- Its data is on trial if it is not the data that lived before: `trial` has the run, and `data_ok` the data to
-- which commit.lua rolls back.  While a trial is under way, another reload does not replace `data_ok`.
--
-- No new run of a paused task begins either: the old one is then released, and the task waits until it is resumed. (One
-- that was pre-started would be lost by that: its new run begins, and its owner pauses it.)
--
-- Returns verdict (OK, ALREADY, FENCED, GONE, PAUSED, or the request to stop: nothing done), epoch, crashes, size of data over the limit, function, data,
--       1 if the data is on trial.
--- include: names, time, now_us, now_ms, whole, number, trial, history
local held = call('HGET', runs, id)
if held and held ~= old_run and held ~= new_run then return {'FENCED'} end
call('ZCARD', leases)
local size = pcall('HSTRLEN', hash, 'data')
if type(size) == 'table' then return {'GONE'} end
local over = size > max_data
local h = call('HMGET', hash, 'run', 'function', 'epoch', 'crashes', over and '' or 'data', 'history', 'control', 'trial',
  known and not on_trial and '' or 'data_ok', 'paused', 'local')
-- (Without an entry in the registry the hash decides, see `fence` in prelude.lua.)
local named = h[1]
if held and named ~= held or named ~= old_run and named ~= new_run then return {'GONE'} end
local crashes = number(h[4])
local func = h[2] and #h[2] <= 512 and h[2] or ''
if named == new_run then
  return {'ALREADY', whole(number(h[3])), crashes, over and size or 0, func, h[5], h[8] == new_run and 1 or 0}
end
if h[7] == stop then return {stop} end
if h[10] and not h[11] then return {'PAUSED'} end
local epoch = whole(math.max(number(h[3]) + 1, now_ms))
call('HSET', hash, 'run', new_run, 'worker', worker, 'epoch', epoch, 'settling', epoch, 'last_run', old_run,
  'last_update', now, noted(h[6], line))
call('HDEL', hash, 'control', 'data_bad', 'reloaded', 'rolled_back')
local tried = begin_trial(old_run, new_run, h[8], h[9], over or h[5] or '')
if saved ~= '' then call('HSET', hash, 'saved', saved, 'saved_at', now) end
call('HSET', runs, id, new_run)
call('ZADD', leases, now_us, id)
call('PUBLISH', channel, event[1] .. new_run .. event[2] .. epoch .. event[3])
return {'OK', epoch, crashes, over and size or 0, func, h[5], tried}
