-- New data for a task; a hash that is gone is not made again.
--
-- KEYS  1 the hash     ARGV  1 data (JSON), '' for none
-- Returns OK, NOHASH or BADTYPE.
local known = redis.pcall('HEXISTS', KEYS[1], 'function')
if type(known) == 'table' then return 'BADTYPE' end
if redis.call('EXISTS', KEYS[1]) == 0 then return 'NOHASH' end
if ARGV[1] == '' then redis.call('HDEL', KEYS[1], 'data') else redis.call('HSET', KEYS[1], 'data', ARGV[1]) end
return 'OK'
