-- Publish the figures of a worker; of decisions only a proof of its death depends on them (see proofs.py).
--
-- Returns seconds since any monitor swept, or -1.
-- Begins with a write that needs no memory (see renew.lua).
-- A key of another type causes an error before anything is written.
--- include: names, time
call('HLEN', shown)
call('ZCARD', monitors)
call('ZREM', workers, '')
call('ZADD', workers, t[1], session)
call('HSET', shown, session, info)
local last = call('ZREVRANGE', monitors, 0, 0, 'WITHSCORES')
if not last[2] then return -1 end
-- The clock may have stepped back: a sweep in the future counts as a current one.
return math.max(0, math.floor(t[1] - tonumber(last[2])))
