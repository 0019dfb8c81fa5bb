-- Delete tasks that do not run, wherever they wait; or only those that are in one of some states.
--
-- KEYS  1 runs (hash)  2 queue (list)  3-6 indexes of the resting states (zsets)  7 names of parked functions (set)
--       then for each id: its hash, the parking list of its function, the ring of its lines
-- ARGV  1 running state  2-5 names of the resting states, that of one that waits first  6 number of states (0: any)
--       7.. their names, then the ids
-- Returns for each id OK, STATE (it runs: nothing done), MOVED (it is in none of the states: nothing done), NOHASH or BADTYPE; for the first ids only, where
--       looking for them in long lists was work enough for one call (see stop.lua).
-- A hash tells where a task was before its id was pushed again: an id that stands in the queue waits, in the very
-- step that would delete it, too.
-- A key of another type is met before anything is written.
local WORK = 250000 -- list entries; the first id is always done
local queued, walked = redis.call('LLEN', KEYS[2]), 0
for i = 3, 6 do redis.call('ZCARD', KEYS[i]) end
local reply, resting, allowed = {}, {}, {}
local first = 6 + tonumber(ARGV[6])
for i = 2, 5 do resting[ARGV[i]] = true end
for i = 7, first do allowed[ARGV[i]] = true end
-- Whether it is in one of the states; asked before anything is written.
local function meant(state, id)
  if first == 6 then return true end
  if not resting[state] then state = ARGV[2] end
  if state ~= ARGV[2] then
    walked = walked + queued
    if redis.call('LPOS', KEYS[2], id) then state = ARGV[2] end
  end
  return allowed[state]
end
for i = 1, (#KEYS - 7) / 3 do
  if walked > WORK then break end
  local id, hash, parking, ring = ARGV[first + i], KEYS[5 + 3 * i], KEYS[6 + 3 * i], KEYS[7 + 3 * i]
  local h = redis.pcall('HMGET', hash, 'state', 'run')
  if h.err then
    reply[i] = 'BADTYPE'
  elseif redis.call('HEXISTS', KEYS[1], id) == 1 or (h[1] == ARGV[1] and h[2]) then
    reply[i] = 'STATE'
  elseif not meant(h[1], id) then
    reply[i] = 'MOVED'
  else
    local found = redis.call('DEL', hash)
    redis.call('DEL', ring)
    for k = 3, 6 do redis.call('ZREM', KEYS[k], id) end
    redis.call('LREM', KEYS[2], 0, id)
    local parked = redis.pcall('LLEN', parking)
    if type(parked) == 'number' then
      redis.call('LREM', parking, 0, id)
      walked = walked + parked
      -- The name of a function for which nothing waits any more; a monitor would take it away later. Behind the
      -- name of the set and a colon stands that of the function. Roles of older releases may not do this.
      if redis.call('EXISTS', parking) == 0 then
        redis.pcall('SREM', KEYS[7], string.sub(parking, #KEYS[7] + 2))
      end
    end
    walked = walked + queued
    reply[i] = found == 1 and 'OK' or 'NOHASH'
  end
end
return reply
