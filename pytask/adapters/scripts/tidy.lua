-- Note a monitor's sweep, and drop what has gone stale.
--
-- KEYS  1 workers (zset)  2 what they show (hash)  3 monitors (zset)  4.. indexes whose hashes expire (zsets)
-- ARGV  1 id of the monitor  2 seconds after which a worker is silent  3.. seconds that hashes are kept,
--       one for each index
-- Returns 1 if there is more to drop, else 0: at most 5000 entries of an index in one call, since a setting
--       made shorter, or a day without a monitor, leaves millions of them.
-- Begins with a write that needs no memory (see renew.lua).
-- A key of another type is met before anything is written.
redis.call('ZCARD', KEYS[1])
redis.call('HLEN', KEYS[2])
for i = 3, #KEYS do redis.call('ZCARD', KEYS[i]) end
redis.call('ZREM', KEYS[3], '')
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[3], now, ARGV[1])
local before = now - tonumber(ARGV[2])
for _, session in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', before, 'LIMIT', 0, 1000)) do
  redis.call('ZREM', KEYS[1], session)
  redis.call('HDEL', KEYS[2], session)
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', before)
local MOST, more = 5000, 0
for i = 4, #KEYS do
  local old = now - tonumber(ARGV[i - 1])
  local last = redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', old, 'WITHSCORES', 'LIMIT', MOST - 1, 1)[2]
  if last then more = 1 end
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', last or old)
end
return more
