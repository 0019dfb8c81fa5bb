-- Refuse a reload because the data in the hash does not fit; the run continues.
--
-- Returns OK, ALREADY, FENCED, GONE, or MOVED (the data has changed since: nothing done).
--
-- The hash gets back what is in force: what was refused must not wait there for the next run. It is kept in `data_bad`.
-- The request is removed as well, so a client that wrote better data meanwhile must not lose its own: the data
-- must be what was judged.  A request to stop is kept.
-- Begins with a write that needs no memory (see renew.lua).
--- include: names, time, whole, number, fence, answer, history
call('HDEL', runs, '')
local held = call('HGET', runs, id)
local size = pcall('HSTRLEN', hash, 'data')
if type(size) == 'table' then return fence(run, held) end
local h = call('HMGET', hash, 'run', 'function', 'control', 'history', 'epoch', unread > 0 and '' or 'data')
local stranger = fence(run, held, h[1])
if stranger then return stranger end
local there = h[2] and #h[2] <= 512 and h[2] or ''
if there ~= func or (h[6] or '') ~= data or (unread > 0 and size ~= unread) then
  -- A repeated call finds what the first one has put back.
  local done = there == good_func and h[3] ~= request and (call('HGET', hash, 'data') or '') == good
    and (unread > 0 and call('HSTRLEN', hash, 'data_bad') == unread or unread == 0 and (call('HGET', hash, 'data_bad') or '') == data)
    and call('HEXISTS', hash, 'reload_refused') == 1
  return done and 'ALREADY' or 'MOVED'
end
local epoch = whole(number(h[5]))
local bad = unread > 0 and call('HGET', hash, 'data') or h[6]
call('HSET', hash, 'reload_refused', answer(epoch, good) .. refusal, 'function', good_func,
  noted(h[4], line))
if bad then call('HSET', hash, 'data_bad', bad) else call('HDEL', hash, 'data_bad') end
if good == '' then call('HDEL', hash, 'data') else call('HSET', hash, 'data', good) end
call('HDEL', hash, 'reloaded')
if h[3] == request then call('HDEL', hash, 'control') end
call('PUBLISH', channel, event)
return 'OK'
