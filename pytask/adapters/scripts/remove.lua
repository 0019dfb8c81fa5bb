-- Delete tasks that do not run, wherever they wait.
--
-- KEYS  1 runs (hash)  2 queue (list)  3-6 indexes of the resting states (zsets)
--       then for each id: its hash, the parking list of its function
-- ARGV  1 running state, then the ids
-- Returns for each id OK, STATE (it runs: nothing done), NOHASH or BADTYPE.
-- A key of another type is met before anything is written.
redis.call('LLEN', KEYS[2])
for i = 3, 6 do redis.call('ZCARD', KEYS[i]) end
local reply = {}
for i = 1, (#KEYS - 6) / 2 do
  local id, hash, parking = ARGV[1 + i], KEYS[5 + 2 * i], KEYS[6 + 2 * i]
  local h = redis.pcall('HMGET', hash, 'state', 'run')
  if h.err then
    reply[i] = 'BADTYPE'
  elseif redis.call('HEXISTS', KEYS[1], id) == 1 or (h[1] == ARGV[1] and h[2]) then
    reply[i] = 'STATE'
  else
    local found = redis.call('DEL', hash)
    for k = 3, 6 do redis.call('ZREM', KEYS[k], id) end
    redis.call('LREM', KEYS[2], 0, id)
    redis.pcall('LREM', parking, 0, id)
    reply[i] = found == 1 and 'OK' or 'NOHASH'
  end
end
return reply
