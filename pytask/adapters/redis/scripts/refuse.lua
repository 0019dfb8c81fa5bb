-- Refuse a reload because the data in the hash does not fit; the run continues.
--
-- Returns OK, FENCED, GONE, or MOVED (the data has changed since: nothing done).
--
-- The request is removed as well, so a client that wrote better data meanwhile must not lose its own: the data
-- must be what was judged.  A request to stop is kept.
-- Begins with a write that needs no memory (see renew.lua).
--- include: names, time, whole, number, history
call('HDEL', runs, '')
if call('HGET', runs, id) ~= run then return 'FENCED' end
local size = pcall('HSTRLEN', hash, 'data')
if type(size) == 'table' then return 'GONE' end
local h = call('HMGET', hash, 'run', 'function', 'control', 'history', 'epoch', unread > 0 and '' or 'data')
if h[1] ~= run then return 'GONE' end
local there = h[2] and #h[2] <= 512 and h[2] or ''
if there ~= func or (h[6] or '') ~= data or (unread > 0 and size ~= unread) then return 'MOVED' end
local epoch = whole(number(h[5]))
call('HSET', hash, 'reload_refused', '{"epoch":' .. epoch .. ',"at":' .. now .. ',' .. refusal, noted(h[4], line))
if h[3] == request then call('HDEL', hash, 'control') end
call('PUBLISH', channel, event)
return 'OK'
