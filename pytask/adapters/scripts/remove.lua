-- Delete tasks that do not run, wherever they wait.
--
-- KEYS  1 runs (hash)  2 queue (list)  3-6 indexes of the resting states (zsets)
--       then for each id: its hash, the parking list of its function, the ring of its lines
-- ARGV  1 running state, then the ids
-- Returns for each id OK, STATE (it runs: nothing done), NOHASH or BADTYPE; for the first ids only, where
--       looking for them in long lists was work enough for one call (see stop.lua).
-- A key of another type is met before anything is written.
local WORK = 250000 -- list entries; the first id is always done
local queued, walked = redis.call('LLEN', KEYS[2]), 0
for i = 3, 6 do redis.call('ZCARD', KEYS[i]) end
local reply = {}
for i = 1, (#KEYS - 6) / 3 do
  if walked > WORK then break end
  local id, hash, parking, ring = ARGV[1 + i], KEYS[4 + 3 * i], KEYS[5 + 3 * i], KEYS[6 + 3 * i]
  local h = redis.pcall('HMGET', hash, 'state', 'run')
  if h.err then
    reply[i] = 'BADTYPE'
  elseif redis.call('HEXISTS', KEYS[1], id) == 1 or (h[1] == ARGV[1] and h[2]) then
    reply[i] = 'STATE'
  else
    local found = redis.call('DEL', hash)
    redis.call('DEL', ring)
    for k = 3, 6 do redis.call('ZREM', KEYS[k], id) end
    redis.call('LREM', KEYS[2], 0, id)
    local parked = redis.pcall('LLEN', parking)
    if type(parked) == 'number' then
      redis.call('LREM', parking, 0, id)
      walked = walked + parked
    end
    walked = walked + queued
    reply[i] = found == 1 and 'OK' or 'NOHASH'
  end
end
return reply
