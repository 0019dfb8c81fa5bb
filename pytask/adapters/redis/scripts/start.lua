-- Start tasks at rest again, and those that wait for their time: put them into the queue.
--
-- Returns for each id OK (queued), STATE (no-op), NOHASH or BADTYPE.
-- A `fresh` start takes away what earlier runs have saved, also from a task that waits already.  After an end it is
-- always taken away: a worker of an earlier release did not remove it.
--- include: names, time, index, places, forget_restarts, history
local REACH = 1024
local from = places_in(allowed)
call('LLEN', queue)
call('ZCARD', timers)
local reply = {}
for i, hash in ipairs(hashes) do
  local id = ids[i]
  local held = call('HGET', runs, id)
  local h = pcall('HMGET', hash, 'state', 'run', 'start_at', 'history')
  if h.err then
    reply[i] = 'BADTYPE'
  elseif call('EXISTS', hash) == 0 then
    reply[i] = 'NOHASH'
  else
    local state = index[h[1]] and h[1] or unknown
    -- Every worker hears every message: one that comes late must not start a short task twice.
    local since = tonumber(now) - (tonumber(h[3] or '') or -1)
    local early = state == waiting and call('ZSCORE', timers, id)
    if (fresh or state == ended_state) and not held and h[1] ~= running then
      call('HDEL', hash, 'saved', 'saved_at', 'saved_by')
    end
    if held or h[1] == running or not (from[state] or early) or (since >= 0 and since < ages[i]) then
      reply[i] = 'STATE'
    else
      call('HSET', hash, 'state', waiting, 'last_update', now, 'crashes', 0, 'start_at', now,
        noted(h[4], state .. (early and now_line or line)))
      call('HDEL', hash, 'control')
      forget_restarts(hash)
      if not early then call('HDEL', hash, 'scheduled') end
      call('PERSIST', hash)
      pcall('ZREM', index[state], id)
      pcall('ZADD', index[waiting], now, id)
      call('ZREM', timers, id)
      -- Pushed again by hand it waits already; a copy deep in a long queue is dropped when it is met, or runs again.
      local waits = call('LPOS', queue, id, 'MAXLEN', REACH) or call('LPOS', queue, id, 'RANK', -1, 'MAXLEN', REACH)
      if not waits then call('LPUSH', queue, id) end
      call('PUBLISH', channel .. id, event)
      reply[i] = 'OK'
    end
  end
end
return reply
