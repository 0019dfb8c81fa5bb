-- Record the sweep of a monitor, and delete stale entries.
--
-- Begins with a write that needs no memory (see renew.lua).
-- A key of another type causes an error before anything is written.
--- include: names, time
call('ZCARD', workers)
call('HLEN', shown)
call('ZREM', monitors, '')
call('ZADD', monitors, t[1], monitor)
local before = t[1] - silent
for _, session in ipairs(call('ZRANGEBYSCORE', workers, '-inf', before, 'LIMIT', 0, 1000)) do
  call('ZREM', workers, session)
  call('HDEL', shown, session)
end
call('ZREMRANGEBYSCORE', monitors, '-inf', before)
