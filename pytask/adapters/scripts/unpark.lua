-- Forget the name of a function whose parking list is empty.
--
-- KEYS  1 names of parked functions (set)  2 the parking list     ARGV  1 function     Returns 0 or 1.
if redis.call('LLEN', KEYS[2]) > 0 then return 0 end
return redis.call('SREM', KEYS[1], ARGV[1])
