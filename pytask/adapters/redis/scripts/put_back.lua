-- Queue tasks that wait and are in none of the places where a task waits, as after a client deleted one of these.
-- A paused one goes back to the paused set.
--
-- Returns how many were queued, or went there.
--
-- That it is in no place is seen in the step that queues it.  Lists that are too long to look through are taken
-- to have it.
--- include: names, ids, slots
local LONGEST = 10000 -- entries
local queued, done = call('LLEN', queue), 0
local function in_line(kind, name, id) return name and type(pcall('ZSCORE', line_of(kind .. name), id)) == 'string' end
call('ZCARD', timers)
call('HLEN', runs)
call('SCARD', paused)
if queued > LONGEST then return 0 end
for i, hash in ipairs(hashes) do
  local id, parking = ids[i], parkings[i]
  local h = pcall('HMGET', hash, 'state', 'function', 'run', 'group', 'paused')
  local waits = not h.err and h[1] == waiting and (h[2] or '') == funcs[i] and not h[3]
    and not in_line('group:', h[4], id) and not in_line('function:', h[2], id)
  local parked = pcall('LLEN', parking)
  if waits and type(parked) == 'number' and parked <= LONGEST and call('HEXISTS', runs, id) == 0
    and not call('ZSCORE', timers, id) and not call('LPOS', queue, id) and not call('LPOS', parking, id) then
    if h[5] then
      done = done + call('SADD', paused, id)
    else
      call('LPUSH', queue, id)
      call('PUBLISH', channel .. id, event)
      done = done + 1
    end
  end
end
return done
