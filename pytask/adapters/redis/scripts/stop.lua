-- Stop waiting tasks, and store the request for running ones.
--
-- Returns for each id REQUESTED (a run has it now), OK (stopped), STATE (no-op), NOHASH or BADTYPE; for the
--       first ids only, if removing them from long lists has used up the work limit of one call.
--
-- A waiting id may be anywhere in its list, so each costs a scan of all of it: 20 ms for a million entries.
-- Hundreds in one call would hold Redis for longer than a renewal waits, and with it every worker.
-- Begins with a write that needs no memory (see renew.lua): a full Redis must not keep a task from stopping.
--- include: names, time, index, places, slots, wake, lead, leave_lines, leave_places, pauses, history
call('HDEL', runs, '')
call('ZCARD', timers)
call('SCARD', paused)
local WORK = 250000 -- list entries; the first id is always done
local stoppable = places_in(allowed)
local queued, walked = call('LLEN', queue), 0
local reply = {}

-- Removes it from all lists and sets it to rest; `from` is the state it was in, `state` the one that its hash has.
local function settle(id, hash, parking, from, state, old)
  unpause(id, hash)
  walked = walked + leave_places(id, parking, hash) + queued
  if drop then
    call('DEL', hash)
  else
    call('HSET', hash, 'state', stopped, 'last_update', now, noted(old, from .. line))
    call('PERSIST', hash)
    pcall('ZADD', index[stopped], now, id)
  end
  if state ~= stopped or drop then pcall('ZREM', index[state], id) end
  call('PUBLISH', channel .. id, event)
end

for i = 1, #hashes do
  if walked > WORK then break end
  local id, hash = ids[i], hashes[i]
  local held = call('HGET', runs, id)
  local h = pcall('HMGET', hash, 'state', 'run', 'start_at', 'control', 'history')
  -- Not after a step of the server's clock, which may put the start into the future.
  local since = not h.err and tonumber(now) - (tonumber(h[3] or '') or -1)
  if h.err then
    reply[i] = 'BADTYPE'
  elseif call('EXISTS', hash) == 0 then
    reply[i] = 'NOHASH'
  elseif since >= 0 and since < ages[i] then
    reply[i] = 'STATE'
  elseif h[2] and (held or h[1] == running) then
    if h[4] ~= stop then call('HSET', hash, 'control', stop, noted(h[5], asked_line)) end
    reply[i] = 'REQUESTED'
  else
    local state = index[h[1]] and h[1] or unknown
    local from = state
    -- It waits, even if its hash still describes the run before it was pushed again.
    if not stoppable[from] then
      walked = walked + queued
      if call('LPOS', queue, id) then from = unknown end
    end
    if stoppable[from] then
      settle(id, hash, parkings[i], from, state, h[5])
      -- A run of a previous hash of this id may still be stopping: its owner is notified, too.
      reply[i] = held and 'REQUESTED' or 'OK'
    else
      reply[i] = 'STATE'
    end
  end
end
return reply
