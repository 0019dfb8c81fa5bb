-- E9 and E11: stop tasks that wait, and write the wish down for those that run.
--
-- KEYS  1 runs (hash)  2 queue (list)  3-6 indexes of the resting states (zsets)
--       then for each id: its hash, the parking list of its function
-- ARGV  1 channel prefix  2 the `stopped` event  3 the wish  4 running state  5 new state
--       6 the state a hash without a known state is in  7-10 names of the resting states
--       11 0 to delete the hash at once (see retire.lua)  12 number of allowed source states  13.. their names,
--       then for each id: id, seconds within which a start is known to be newer than this stop;
--       then two lines for the history, of a wish, and of a stop without the state it was in; last: how
--       many lines are kept (see history.lua)
-- Returns for each id REQUESTED (a run has it now), OK (stopped), STATE (no-op), NOHASH or BADTYPE; for the
--       first ids only, where taking them out of long lists was work enough for one call.
--
-- A waiting id may stand anywhere in its list, so each costs a walk through all of it: 20 ms of a million.
-- Hundreds in one call would hold Redis for longer than a renewal waits, and with it every worker.
-- Begins with a write that needs no memory (see renew.lua): a full Redis must not keep a task from stopping.
--- history.lua
redis.call('HDEL', KEYS[1], '')
local WORK = 250000 -- list entries; the first id is always done
local index, allowed = {}, {}
for i = 1, 4 do index[ARGV[6 + i]] = KEYS[2 + i] end
local first, keep = 12 + tonumber(ARGV[12]), ARGV[11]
for i = 13, first do allowed[ARGV[i]] = true end
local queued, walked = redis.call('LLEN', KEYS[2]), 0
local t = redis.call('TIME')
local now = t[1] .. '.' .. string.format('%06d', t[2])
local reply = {}
for i = 1, (#KEYS - 6) / 2 do
  if walked > WORK then break end
  local id, hash, parking = ARGV[first + 2 * i - 1], KEYS[5 + 2 * i], KEYS[6 + 2 * i]
  local age = tonumber(ARGV[first + 2 * i])
  local held = redis.call('HGET', KEYS[1], id)
  local h = redis.pcall('HMGET', hash, 'state', 'run', 'start_at', 'control', 'history')
  -- Not after a step of the server's clock, which may put the start into the future.
  local since = not h.err and tonumber(now) - (tonumber(h[3] or '') or -1)
  if h.err then
    reply[i] = 'BADTYPE'
  elseif redis.call('EXISTS', hash) == 0 then
    reply[i] = 'NOHASH'
  elseif since >= 0 and since < age then
    reply[i] = 'STATE'
  elseif h[2] and (held or h[1] == ARGV[4]) then
    if h[4] ~= ARGV[3] then
      redis.call('HSET', hash, 'control', ARGV[3], noted(h[5], t, ARGV[#ARGV - 2]))
    end
    reply[i] = 'REQUESTED'
  else
    local state = index[h[1]] and h[1] or ARGV[6]
    local from = state
    -- It waits, whatever its hash tells of the time before it was pushed again.
    if not allowed[from] then
      walked = walked + queued
      if redis.call('LPOS', KEYS[2], id) then from = ARGV[6] end
    end
    if not allowed[from] then
      reply[i] = 'STATE'
    else
      if keep == '0' then
        redis.call('DEL', hash)
      else
        redis.call('HSET', hash, 'state', ARGV[5], 'last_update', now,
          noted(h[5], t, from .. ARGV[#ARGV - 1]))
        redis.call('PERSIST', hash)
        redis.pcall('ZADD', index[ARGV[5]], now, id)
      end
      if state ~= ARGV[5] or keep == '0' then redis.pcall('ZREM', index[state], id) end
      redis.call('LREM', KEYS[2], 0, id)
      local parked = redis.pcall('LLEN', parking)
      if type(parked) == 'number' then
        redis.call('LREM', parking, 0, id)
        walked = walked + parked
      end
      walked = walked + queued
      redis.call('PUBLISH', ARGV[1] .. id, ARGV[2])
      -- A run of the hash that stood here before may be dying: its owner is told, too.
      reply[i] = held and 'REQUESTED' or 'OK'
    end
  end
end
return reply
