-- E17: a reload is refused, as the data in the hash does not fit; the run goes on as it is.
--
-- KEYS  1 runs (hash)  2 the task's hash
-- ARGV  1 id  2 run  3 function and 4 data that were judged ('' for none)  5 size of data that was not read (0: it
--       was)  6 the wish to reload  7 the refusal, as JSON behind its epoch and time  8 channel
--       9 the `reload-refused` event  10 the line for the history  11 lines of history kept (see history.lua)
-- Returns OK, FENCED, GONE, or MOVED: the hash has other data by now, nothing done.
--
-- The wish goes with it, so a client that wrote better data meanwhile must not lose its own: what is there
-- now has to be what was judged.  A wish to stop stays.
-- Begins with a write that needs no memory (see renew.lua).
--- history.lua
redis.call('HDEL', KEYS[1], '')
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 'FENCED' end
local size = redis.pcall('HSTRLEN', KEYS[2], 'data')
if type(size) == 'table' then return 'GONE' end
local unread = tonumber(ARGV[5])
local h = redis.call('HMGET', KEYS[2], 'run', 'function', 'control', 'history', 'epoch',
  unread > 0 and '' or 'data')
if h[1] ~= ARGV[2] then return 'GONE' end
local func = h[2] and #h[2] <= 512 and h[2] or ''
if func ~= ARGV[3] or (h[6] or '') ~= ARGV[4] or (unread > 0 and size ~= unread) then return 'MOVED' end
local t = redis.call('TIME')
local at = t[1] .. '.' .. string.format('%06d', t[2])
local epoch = tonumber(h[5] or 0)
if not epoch or epoch ~= epoch or epoch < 0 or epoch > 2 ^ 53 - 2 then epoch = 0 end
redis.call('HSET', KEYS[2], 'reload_refused',
  '{"epoch":' .. string.format('%.0f', epoch) .. ',"at":' .. at .. ',' .. ARGV[7], noted(h[4], t, ARGV[10]))
if h[3] == ARGV[6] then redis.call('HDEL', KEYS[2], 'control') end
redis.call('PUBLISH', ARGV[8], ARGV[9])
return 'OK'
