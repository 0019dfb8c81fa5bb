-- Record that a run took the data in the hash in place: it continues, with this data.
--
-- Returns verdict (OK, ALREADY, FENCED, GONE, or MOVED: the data has changed since, nothing done), and 1 if the data is
--       on trial (see reload.lua).
--
-- Begins with a write that needs no memory (see renew.lua).
--- include: names, time, whole, number, fence, trial, answer, history
call('HDEL', runs, '')
local held = call('HGET', runs, id)
local h = pcall('HMGET', hash, 'run', 'function', 'control', 'history', 'epoch', 'data', 'trial', known and not on_trial and '' or 'data_ok', 'reloaded')
local stranger = fence(run, held, h[1])
if stranger then return {stranger} end
if h[9] and h[9]:find('"' .. mark .. '"', 1, true) then return {'ALREADY', h[7] == mark and 1 or 0} end
if (h[2] or '') ~= func or (h[6] or '') ~= data then return {'MOVED'} end
local told = answer(whole(number(h[5])), data) .. '"mark":"' .. mark .. '"}'
call('HSET', hash, 'reloaded', told, noted(h[4], line))
call('HDEL', hash, 'data_bad', 'reload_refused', 'rolled_back')
local tried = begin_trial(run, mark, h[7], h[8], h[6] or '')
if h[3] == request then call('HDEL', hash, 'control') end
call('PUBLISH', channel, event)
return {'OK', tried}
