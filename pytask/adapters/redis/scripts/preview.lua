-- Read the data that a reload of a run would start with, before anything is stopped.
--
-- Returns verdict (OK, FENCED, GONE), and after OK: epoch, crashes, size of data over the limit, function, data, 0,
--       1 if a reload of this run was answered, and no client has asked for another since (see request.lua).
--- include: names, whole, number, fence
local held = call('HGET', runs, id)
local size = pcall('HSTRLEN', hash, 'data')
if type(size) == 'table' then return {fence(run, held)} end
local over = size > max_data
local h = call('HMGET', hash, 'run', 'function', 'epoch', 'crashes', over and '' or 'data', 'reload_refused', 'reloaded')
local stranger = fence(run, held, h[1])
if stranger then return {stranger} end
local func = h[2] and #h[2] <= 512 and h[2] or ''
return {'OK', whole(number(h[3])), number(h[4]), over and size or 0, func, h[5], 0, (h[6] or h[7]) and 1 or 0}
