-- Note a monitor's sweep, and drop what has gone stale.
--
-- KEYS  1 workers (zset)  2 what they show (hash)  3 monitors (zset)
-- ARGV  1 id of the monitor  2 seconds after which a worker is silent
-- Begins with a write that needs no memory (see renew.lua).
-- A key of another type is met before anything is written.
redis.call('ZCARD', KEYS[1])
redis.call('HLEN', KEYS[2])
redis.call('ZREM', KEYS[3], '')
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[3], now, ARGV[1])
local before = now - tonumber(ARGV[2])
for _, session in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', before, 'LIMIT', 0, 1000)) do
  redis.call('ZREM', KEYS[1], session)
  redis.call('HDEL', KEYS[2], session)
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', before)
