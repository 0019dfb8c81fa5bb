-- Start tasks at rest again, those that wait for their time, and paused ones: put them into the queue.  For a paused
-- run the word is stored for its owner.
--
-- Returns for each id OK (queued), REQUESTED, STATE (no-op), NOHASH or BADTYPE.
--
-- A resumed task keeps the count of its restarts and the time that it waits for: the claim puts it into the timers.
-- A `fresh` start takes away what earlier runs have saved, also from a task that waits already.  A run keeps its value,
-- so a fresh start of it does nothing, and does not resume it either: its value would be there again at once.  After an
-- end it is always taken away: a worker of an earlier release did not remove it.
--- include: names, time, index, places, forget_restarts, history
local REACH = 1024
local from = places_in(allowed)
call('LLEN', queue)
call('ZCARD', timers)
call('SCARD', paused)
local function enqueue(id)
  -- Pushed again by hand it waits already; a copy deep in a long queue is dropped when it is met, or runs again.
  local waits = call('LPOS', queue, id, 'MAXLEN', REACH) or call('LPOS', queue, id, 'RANK', -1, 'MAXLEN', REACH)
  if not waits then call('LPUSH', queue, id) end
end
-- A run: whether its owner is to resume it, or was told to before.
local function resume_run(id, hash, h)
  if fresh then return false end
  if not h[5] then return h[6] == start_word end
  call('HDEL', hash, 'paused')
  call('SREM', paused, id)
  call('HSET', hash, 'start_at', now)
  if not h[6] or h[6] == pause_word then call('HSET', hash, 'control', start_word, noted(h[4], asked_line)) end
  return true
end
local function resume_waiting(id, hash, state, h)
  call('HDEL', hash, 'paused', 'control')
  call('SREM', paused, id)
  call('HSET', hash, 'state', waiting, 'last_update', now, 'start_at', now, noted(h[4], state .. resumed_line))
  call('PERSIST', hash)
  pcall('ZADD', index[waiting], now, id)
  enqueue(id)
  call('PUBLISH', channel .. id, resumed_event)
end
local reply, forgetful = {}, {}
for i, hash in ipairs(hashes) do
  local id = ids[i]
  local held = call('HGET', runs, id)
  local h = pcall('HMGET', hash, 'state', 'run', 'start_at', 'history', 'paused', 'control')
  if h.err then
    reply[i] = 'BADTYPE'
  elseif call('EXISTS', hash) == 0 then
    reply[i] = 'NOHASH'
  else
    local state = index[h[1]] and h[1] or unknown
    -- Every worker hears every message: one that comes late must not start a short task twice.
    local since = tonumber(now) - (tonumber(h[3] or '') or -1)
    local early = state == waiting and call('ZSCORE', timers, id)
    -- A run of a previous hash of this id cannot write to this one.
    local owned = h[2] and (held or h[1] == running)
    if (fresh or state == ended_state) and not owned and h[1] ~= running then forgetful[#forgetful + 1] = hash end
    if owned then
      reply[i] = resume_run(id, hash, h) and 'REQUESTED' or 'STATE'
    elseif h[5] and state == waiting and not held and h[1] ~= running then
      resume_waiting(id, hash, state, h)
      reply[i] = 'OK'
    elseif held or h[1] == running or not (from[state] or early) or (since >= 0 and since < ages[i]) then
      reply[i] = 'STATE'
    else
      call('HSET', hash, 'state', waiting, 'last_update', now, 'crashes', 0, 'start_at', now,
        noted(h[4], state .. (early and now_line or line)))
      call('HDEL', hash, 'control', 'paused')
      call('SREM', paused, id)
      forget_restarts(hash)
      if not early then call('HDEL', hash, 'scheduled') end
      call('PERSIST', hash)
      pcall('ZREM', index[state], id)
      pcall('ZADD', index[waiting], now, id)
      call('ZREM', timers, id)
      enqueue(id)
      call('PUBLISH', channel .. id, event)
      reply[i] = 'OK'
    end
  end
end
-- Last: a script that has begun with a write that needs no memory is not refused by a full Redis, and a start adds.
for _, hash in ipairs(forgetful) do call('HDEL', hash, 'saved', 'saved_at', 'saved_by') end
return reply
