-- Show a worker; information only, nothing decides by it.
--
-- Returns seconds since any monitor swept, or -1.
-- Begins with a write that needs no memory (see renew.lua).
-- A key of another type is met before anything is written.
--- include: names, time
call('HLEN', shown)
call('ZCARD', monitors)
call('ZREM', workers, '')
call('ZADD', workers, t[1], session)
call('HSET', shown, session, info)
local last = call('ZREVRANGE', monitors, 0, 0, 'WITHSCORES')
if not last[2] then return -1 end
-- A clock may have stepped back: a sweep in the future is one of now, and not none.
return math.max(0, math.floor(t[1] - tonumber(last[2])))
