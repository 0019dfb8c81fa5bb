-- Repair tasks that are RUNNING without a registered run, and runs without a lease.
--
-- Returns how many were mended.
--
-- A hash that names a run is registered again, and a full expiry passes before it is handed on: its
-- owner may live.  One that names none was written by hand or by an ancestor: nobody runs it.  A run
-- that the registry has is given a lease whatever became of its hash: the monitor clears it away.
--- include: names, time, now_us, number, plausible, history
call('LLEN', queue)
call('ZCARD', leases)
call('ZCARD', timers)
local mended = 0

-- A hash that nobody runs is stopped, if that was asked, or waits again.
local function settle(id, hash, stops, old)
  local state, published, line, index = waiting, waiting_event, waiting_line, waiting_index
  if stops then state, published, line, index = stopped, stopped_event, stopped_line, stopped_index end
  if stops and stopped_drop then
    call('DEL', hash)
  else
    call('HSET', hash, 'state', state, 'last_update', now, noted(old, line))
    pcall('ZADD', index, now, id)
    if stops then call('HDEL', hash, 'control') end
  end
  call('ZREM', timers, id)
  if not stops then call('LPUSH', queue, id) end
  call('PUBLISH', channel .. id, published)
end

for i, hash in ipairs(hashes) do
  local id = ids[i]
  local h = pcall('HMGET', hash, 'state', 'run', 'last_update', 'history', 'control')
  if call('HEXISTS', runs, id) == 1 then
    -- A registered run without a lease would never be looked at by a monitor.
    if not call('ZSCORE', leases, id) then
      call('ZADD', leases, now_us, id)
      mended = mended + 1
    end
  elseif h.err or h[1] ~= running then
    -- at rest, or no task
  elseif plausible(h[2]) then
    call('HSET', runs, id, h[2])
    call('ZADD', leases, now_us, id)
    mended = mended + 1
  elseif t[1] - number(h[3]) > expiry then
    settle(id, hash, h[5] == stop, h[4])
    mended = mended + 1
  end
end
return mended
