-- Delete tasks that do not run, wherever they wait; or only those that are in one of some states.
--
-- Returns for each id OK, STATE (it runs: nothing done), MOVED (it is in none of the states: nothing done), NOHASH or BADTYPE; for the first ids only, where
--       looking for them in long lists was work enough for one call (see stop.lua).
-- A hash tells where a task was before its id was pushed again: an id that is in the queue waits, in the very
-- step that would delete it, too.
-- A key of another type is met before anything is written.
--- include: names, places, slots, wake, lead, leave_lines, leave_places
local WORK = 250000 -- list entries; the first id is always done
local queued, walked = call('LLEN', queue), 0
call('ZCARD', timers)
call('SCARD', paused)
for _, key in ipairs(indexes) do call('ZCARD', key) end
local reply, rests, allowed = {}, places_in(resting), places_in(states)
-- Whether it is in one of the states; asked before anything is written.
local function meant(state, id)
  if #states == 0 then return true end
  if not rests[state] then state = unknown end
  if state ~= unknown then
    walked = walked + queued
    if call('LPOS', queue, id) then state = unknown end
  end
  return allowed[state]
end
for i, hash in ipairs(hashes) do
  if walked > WORK then break end
  local id, parking = ids[i], parkings[i]
  local h = pcall('HMGET', hash, 'state', 'run')
  if h.err then
    reply[i] = 'BADTYPE'
  elseif call('HEXISTS', runs, id) == 1 or (h[1] == running and h[2]) then
    reply[i] = 'STATE'
  elseif not meant(h[1], id) then
    reply[i] = 'MOVED'
  else
    walked = walked + leave_places(id, parking, hash) + queued
    local found = call('DEL', hash)
    call('DEL', rings[i])
    for _, key in ipairs(indexes) do call('ZREM', key, id) end
    -- The name of a function for which nothing waits any more; a monitor would take it away later. Behind the
    -- name of the set and a colon comes that of the function. Roles of older releases may not do this.
    if call('EXISTS', parking) == 0 then pcall('SREM', parked, parking:sub(#parked + 2)) end
    reply[i] = found == 1 and 'OK' or 'NOHASH'
  end
end
return reply
