-- Show a worker; information only, nothing decides by it.
--
-- KEYS  1 workers (zset: session by time)  2 what they show (hash)  3 monitors (zset: id by time)
-- ARGV  1 session  2 JSON
-- Returns seconds since any monitor swept, or -1.
-- Begins with a write that needs no memory (see renew.lua).
-- A key of another type is met before anything is written.
redis.call('HLEN', KEYS[2])
redis.call('ZCARD', KEYS[3])
redis.call('ZREM', KEYS[1], '')
local t = redis.call('TIME')
redis.call('ZADD', KEYS[1], t[1], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local last = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if not last[2] then return -1 end
-- A clock may have stepped back: a sweep in the future is one of now, and not none.
return math.max(0, math.floor(t[1] - tonumber(last[2])))
