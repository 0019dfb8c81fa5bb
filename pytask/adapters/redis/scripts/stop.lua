-- Stop waiting tasks, and store the request for running ones.
--
-- Returns for each id REQUESTED (a run has it now), OK (stopped), STATE (no-op), NOHASH or BADTYPE; for the
--       first ids only, if removing them from long lists has used up the work limit of one call; NAME, with nothing
--       done, for one that waits and whose function the caller does not know (see prelude.lua).
--
-- Begins with a write that needs no memory (see renew.lua): a full Redis must not keep a task from stopping.
--- include: names, time, index, places, slots, wake, lead, leave_lines, leave_places, ask_each, pauses, history
call('HDEL', runs, '')
call('ZCARD', timers)
call('SCARD', paused)

local function request(_, hash, h)
  if h[4] ~= stop then call('HSET', hash, 'control', stop, noted(h[5], asked_line)) end
  return 'REQUESTED'
end

-- Removes it from all lists and sets it to rest.
local function settle(id, hash, parking, from, state, h, held)
  unpause(id, hash)
  local walked = leave_places(id, parking, hash)
  if drop then
    call('DEL', hash)
  else
    call('HSET', hash, 'state', stopped, 'last_update', now, noted(h[5], from .. line))
    call('PERSIST', hash)
    pcall('ZADD', index[stopped], now, id)
  end
  if state ~= stopped or drop then pcall('ZREM', index[state], id) end
  call('PUBLISH', channel .. id, event)
  -- A run of a previous hash of this id may still be stopping: its owner is notified, too.
  return held and 'REQUESTED' or 'OK', walked
end

return ask_each(request, settle)
