-- Pause waiting tasks, and store the request for running ones.
--
-- Returns for each id REQUESTED (a run has it now), OK (paused), STATE (no-op), NOHASH or BADTYPE; for the first ids
--       only, if removing them from long lists has used up the work limit of one call; NAME as for a stop.
--
-- A running task is paused from now on, whether its owner has heard of it or not: `control` is the request, which the
-- owner removes as a greenlet has reached a gate (see confirm.lua).  A stored stop or reload is never overwritten.
-- A start that is known to be newer than this pause (`ages`) makes it a no-op, as for a stop.
-- A task that waits for its next try keeps that time, as `not_before`: resumed, it waits for the rest.
--- include: names, time, now_ms, number, index, places, slots, wake, lead, leave_lines, leave_places, ask_each, history
call('ZCARD', timers)
call('SCARD', paused)

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

-- The time of its next try in milliseconds; nil where it waits for none.
local function next_try(id, hash)
  local due = tonumber(call('ZSCORE', timers, id) or nil)
  local h = due and due > now_ms and call('HMGET', hash, 'restarts', 'not_before')
  return h and number(h[1]) > 0 and number(h[2]) * 1000 < due and due or nil
end

-- Out of the place where it waits, into the set.
local function set_aside(id, hash, parking, from, state, h, held)
  -- A run of a previous hash of this id is still being stopped: it waits for that in the queue.
  if held then return 'STATE', 0 end
  if h[6] and state == waiting and call('SADD', paused, id) == 0 then return 'OK', 0 end
  call('HSET', hash, 'state', waiting, 'paused', h[6] or now, 'last_update', now, noted(h[5], from .. line))
  local due = next_try(id, hash)
  if due then call('HSET', hash, 'not_before', string.format('%.3f', due / 1000)) end
  call('PERSIST', hash)
  if state ~= waiting then pcall('ZREM', index[state], id) end
  pcall('ZADD', index[waiting], now, id)
  local walked = leave_places(id, parking, hash)
  call('SADD', paused, id)
  call('PUBLISH', channel .. id, event)
  return 'OK', walked
end

return ask_each(request, set_aside)
