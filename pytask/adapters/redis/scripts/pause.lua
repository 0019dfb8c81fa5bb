-- Pause waiting tasks, and store the request for running ones.
--
-- Returns for each id REQUESTED (a run has it now), OK (paused), STATE (no-op), NOHASH or BADTYPE; for the first ids
--       only, if removing them from long lists has used up the work limit of one call (see stop.lua).
--
-- A running task is paused from now on, whether its owner has heard of it or not: `control` is the request, which the
-- owner removes as a greenlet has reached a gate (see confirm.lua).  A stored stop or reload is never overwritten.
-- A start that is known to be newer than this pause (`ages`) makes it a no-op, as for a stop.
--- include: names, time, index, places, slots, wake, lead, leave_lines, leave_places, history
call('ZCARD', timers)
call('SCARD', paused)
local WORK = 250000 -- list entries; the first id is always done
local from_here = places_in(allowed)
local queued, walked = call('LLEN', queue), 0
local reply = {}

-- A run: REQUESTED until its owner has confirmed it.
local function request(id, hash, h)
  if h[4] == stop then return 'STATE' end
  call('SADD', paused, id)
  if h[6] then return (h[4] == pause_word or h[4] == reload_word) and 'REQUESTED' or 'OK' end
  if h[4] == reload_word then
    call('HSET', hash, 'paused', now, noted(h[5], asked_line))
  else
    call('HSET', hash, 'paused', now, 'control', pause_word, noted(h[5], asked_line))
  end
  return 'REQUESTED'
end

-- Out of the place where it waits, into the set; `from` is the state it was in, `state` the one that its hash has.
local function set_aside(id, hash, parking, from, state, h)
  if h[6] and state == waiting and call('SADD', paused, id) == 0 then return end
  call('HSET', hash, 'state', waiting, 'paused', h[6] or now, 'last_update', now, noted(h[5], from .. line))
  call('PERSIST', hash)
  if state ~= waiting then pcall('ZREM', index[state], id) end
  pcall('ZADD', index[waiting], now, id)
  walked = walked + leave_places(id, parking, hash) + queued
  call('SADD', paused, id)
  call('PUBLISH', channel .. id, event)
end

for i = 1, #hashes do
  if walked > WORK then break end
  local id, hash = ids[i], hashes[i]
  local held = call('HGET', runs, id)
  local h = pcall('HMGET', hash, 'state', 'run', 'start_at', 'control', 'history', 'paused')
  -- Not after a step of the server's clock, which may put the start into the future.
  local since = not h.err and tonumber(now) - (tonumber(h[3] or '') or -1)
  if h.err then
    reply[i] = 'BADTYPE'
  elseif call('EXISTS', hash) == 0 then
    reply[i] = 'NOHASH'
  elseif since >= 0 and since < ages[i] then
    reply[i] = 'STATE'
  elseif h[2] and (held or h[1] == running) then
    reply[i] = request(id, hash, h)
  elseif held then
    -- A run of a previous hash of this id is still being stopped: it waits for that in the queue.
    reply[i] = 'STATE'
  else
    local state = index[h[1]] and h[1] or unknown
    local from = state
    -- It waits, even if its hash still describes the run before it was pushed again.
    if not from_here[from] then
      walked = walked + queued
      if call('LPOS', queue, id) then from = unknown end
    end
    if from_here[from] then
      set_aside(id, hash, parkings[i], from, state, h)
      reply[i] = 'OK'
    else
      reply[i] = 'STATE'
    end
  end
end
return reply
