-- Repair tasks that are RUNNING without a registered run, and runs without a lease.
--
-- Returns how many were repaired; then the position (from 1) and the function of each task that waits, has not
--       changed for an expiry, and is neither in the queue nor in the timers: it is parked, or lost (see put_back.lua).
--
-- A hash that names a run is registered again, and a full expiry passes before it is requeued: its
-- owner may be alive.  One that names none was written by hand or by an old release: no worker runs it.  A run
-- in the registry gets a lease regardless of its hash: the monitor removes it later.
--- include: names, time, now_us, number, plausible, pauses, history, slots, kept_slots, hold, take_slots
call('LLEN', queue)
call('ZCARD', leases)
call('ZCARD', timers)
call('SCARD', paused)
local LONGEST = 10000 -- entries of the queue that are looked through
local queued = call('LLEN', queue)
local repaired, lost = 0, {}

-- A hash that no worker runs is stopped, if requested, or waits again.
local function settle(id, hash, stops, old, on_hold)
  local state, published, line, index = waiting, waiting_event, waiting_line, waiting_index
  if stops then state, published, line, index = stopped, stopped_event, stopped_line, stopped_index end
  if stops and stopped_drop then
    call('DEL', hash)
  else
    call('HSET', hash, 'state', state, 'last_update', now, noted(old, line))
    pcall('ZADD', index, now, id)
    call('HDEL', hash, 'trial', 'data_ok') -- as in expire.lua
    if stops then call('HDEL', hash, 'control') end
  end
  call('ZREM', timers, id)
  if stops then
    unpause(id, hash)
  elseif on_hold then
    call('SADD', paused, id)
  else
    call('LPUSH', queue, id)
  end
  call('PUBLISH', channel .. id, published)
end

for i, hash in ipairs(hashes) do
  local id = ids[i]
  local h = pcall('HMGET', hash, 'state', 'run', 'last_update', 'history', 'control', 'group', 'function', 'paused')
  -- In the set is each that has the field, also while it runs.
  if h[8] and (h[1] == running or call('HEXISTS', runs, id) == 1) then call('SADD', paused, id) end
  if call('HEXISTS', runs, id) == 1 then
    -- A monitor never checks a registered run without a lease.
    if not call('ZSCORE', leases, id) then
      call('ZADD', leases, now_us, id)
      repaired = repaired + 1
    end
    -- A worker of an older release gave it none, or a client deleted them.
    if not h.err and (h[6] or h[7] and keeps_slots(h[7])) and pcall('HEXISTS', own .. 'slotted', id) == 0 then
      take_slots(id, h[6], h[7])
    end
  elseif h.err or h[1] ~= running then
    -- at rest, or not a task
    if not h.err and h[1] == waiting and not h[2] and queued <= LONGEST and t[1] - number(h[3]) > expiry
      and not call('ZSCORE', timers, id) then
      lost[id] = i
    end
  elseif plausible(h[2]) then
    call('HSET', runs, id, h[2])
    call('ZADD', leases, now_us, id)
    take_slots(id, h[6], h[7])
    repaired = repaired + 1
  elseif t[1] - number(h[3]) > expiry then
    settle(id, hash, h[5] == stop, h[4], h[8])
    repaired = repaired + 1
  end
end
local reply = {repaired}
if next(lost) then
  for _, id in ipairs(call('LRANGE', queue, 0, -1)) do lost[id] = nil end
  for _, i in pairs(lost) do
    local size = call('HSTRLEN', hashes[i], 'function')
    reply[#reply + 1] = i
    reply[#reply + 1] = size <= 512 and call('HGET', hashes[i], 'function') or ''
  end
end
return reply
