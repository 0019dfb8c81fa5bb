-- Expire runs whose lease the caller observed unchanged for long enough, or whose process is known to be dead.
--
-- Refuses with OTHERSERVER, before any write, where another server answers.
-- Returns for each id OK, ALREADY, FENCED or RENEWED.
--
-- The lease value is compared inside the script: an owner that renewed between the caller's reading
-- and now keeps its run.
--- include: names, server, time, index, pauses, escaped, history, slots, wake, give_back
call('ZREM', leases, '')
call('LLEN', queue)
call('ZCARD', timers)
call('SCARD', paused)
local reply, dropped = {}, {}

-- The new state of a task whose hash still names the dead run.
local function hand_on(i, hash, id, lease, stops, worker, old, on_hold)
  local state, published, line, drop = waiting, waiting_event, waiting_line, false
  if stops then
    state, published, line, drop = stopped, stopped_event, stopped_line, stopped_drop
  elseif poison[i] then
    state, published, line, drop = failed, failed_event, failed_line, failed_drop
    call('HSET', hash, 'error', error)
  end
  if drop then
    call('DEL', hash)
  else
    local silent = math.max(0, math.floor(tonumber(now) - (tonumber(lease) or 0) / 1e6))
    local name = (worker or '?'):sub(1, 64)
    local why = 'lease of ' .. name .. ' silent for ' .. (lease and silent or '?') .. ' s'
    if proven[i] then why = 'death of ' .. name end
    call('HSET', hash, 'state', state, 'last_update', now, 'last_run', old_runs[i], 'crashes', crashes[i],
      'crash_at', now, 'lost_at', string.format('%.6f', (tonumber(lease) or 0) / 1e6), noted(old, line .. escaped(why, 200)))
    -- The trial of its data is over: the death of a worker is not the fault of the data of one of its tasks.
    call('HDEL', hash, 'run', 'control', 'trial', 'data_ok')
    pcall('ZADD', index[state], now, id)
  end
  if state ~= waiting then
    unpause(id, hash)
  else
    call('ZREM', timers, id)
    if on_hold then call('SADD', paused, id) else call('LPUSH', queue, id) end
  end
  call('PUBLISH', channel .. id, published)
end

for i, hash in ipairs(hashes) do
  local id, run = ids[i], old_runs[i]
  local held = call('HGET', runs, id)
  local lease = call('ZSCORE', leases, id)
  local h = pcall('HMGET', hash, 'run', 'control', 'local', 'last_run', 'worker', 'history', 'paused')
  if h.err then h = {} end
  -- The registry lost the run, and its hash still names it: no other worker has claimed it since (see commit.lua).
  if not held and h[1] == run then held = run end
  if held ~= run then
    reply[i] = h[4] == run and 'ALREADY' or 'FENCED'
  elseif lease and tonumber(lease) ~= seen[i] then
    reply[i] = 'RENEWED'
  else
    reply[i] = 'OK'
    if h[1] ~= run then
      -- The hash was deleted or recreated: there is nothing to requeue, only an entry to clear.
    elseif h[3] then
      call('DEL', hash)
      unpause(id, hash)
    else
      hand_on(i, hash, id, lease, h[2] == stop, h[5], h[6], h[7])
    end
    call('HDEL', runs, id)
    call('ZREM', leases, id)
    dropped[#dropped + 1] = id
  end
end
give_back(dropped, {})
return reply
