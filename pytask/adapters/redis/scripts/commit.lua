-- Commit one batch of ends and events, in order.
--
-- Returns one string of words, for each change OK, ALREADY, FENCED, GONE, or BADTYPE (the queue is not a
--       list, the timers are not a sorted set, or the paused ids are not a set; nothing done).
--
-- A run that is tried again goes to the timers, by the clock of Redis; the task of a paused one to the paused set.  One
-- that failed soon after a reload goes to the queue, with the data before the reload.
--
-- Without changes it does nothing: so a worker loads the script, and connects, before its first end.
--
-- Begins with a write that needs no memory (see renew.lua).  A hash that no longer names the run was
-- deleted, or deleted and recreated: only the registry is cleared, to avoid writing a hash that belongs to no task.
--- include: names, time, now_ms, whole, ids, index, pauses, history
call('ZREM', leases, '')
local n = #hashes
if n == 0 then return '' end
-- Indexed by the words of the changes: converting these to numbers would cost more.
local kind_of, from = {}, 0
for i = 1, #kinds do
  local kind = kinds[i]
  if kind.words ~= '' then
    kind.first, kind.last = from + 1, from + kind.words
    from = kind.last
    -- What its task saved comes first: it is kept for the next run, or, if it is empty, removed.
    if fields[kind.first] == 'saved' then kind.saved, kind.first = fields[kind.first + 1], kind.first + 2 end
  end
  kind_of[tostring(i)] = kind
end
local live = call('HMGET', runs, unpack(ids))
local queue_ok = type(pcall('LLEN', queue)) == 'number'
local timers_ok = type(pcall('ZCARD', timers)) == 'number'
local reply, dropped, over, indexed, stays = {}, {}, {}, {}, {}

for i = 1, n do
  local id, hash, run, kind = ids[i], hashes[i], change_runs[i], kind_of[change_kinds[i]]
  local state, mode, verdict, held, saved = kind.state, kind.mode, 'OK', live[i], kind.saved
  -- The run in the hash: read for an end, and if the registry lost the run.
  local h
  local again = mode == 'queue' or mode == 'timer'
  if again then
    h = pcall('HMGET', hash, 'run', kept > 0 and 'history' or '', 'control', 'paused')
  elseif state ~= '' or not held then
    h = pcall('HMGET', hash, 'run', kept > 0 and 'history' or '', 'restarts')
  end
  local owner = h and not h.err and h[1]
  local tried = mode == 'queue' and kind.detail ~= '' and kind.detail
  -- A stored stop is only removed once carried out; this run has ended, so it is carried out now.
  if again and owner == run and h[3] == stop then
    kind = kind_of[kind.instead]
    state, mode, again = kind.state, kind.mode, false
  end
  -- The registry lost the run, but the hash is still ours: no other worker has claimed it since (see renew.lua).
  if not held and owner == run then held = run end
  if held ~= run or over[id] then
    verdict = 'FENCED'
    if state ~= '' and pcall('HGET', hash, 'last_run') == run then verdict = 'ALREADY' end
  elseif state ~= '' then
    if mode == 'queue' and not queue_ok or again and not timers_ok or again and h[4] and not pausable then
      verdict = 'BADTYPE'
    elseif owner ~= run then
      verdict = 'GONE'
    elseif mode == 'delete' or kind.drop then
      call('DEL', hash)
      unpause(id, hash)
    else
      local plain = mode == 'done'
      local superseded = false
      if tried then
        --- include: roll_back
        superseded = not roll_back(hash, run, tried)
      end
      if kind.words == '' and not saved then
        call('HSET', hash, 'state', state, 'last_update', now, 'last_run', run, noted(h[2], kind.line, plain))
      else
        local more = kind.words ~= '' and {unpack(fields, kind.first, kind.last)} or {}
        local last = #more
        if saved and saved ~= '' then
          more[last + 1], more[last + 2], more[last + 3], more[last + 4] = 'saved', saved, 'saved_at', now
        end
        more[#more + 1], more[#more + 2] = noted(h[2], kind.line, plain)
        call('HSET', hash, 'state', state, 'last_update', now, 'last_run', run, unpack(more))
      end
      -- Who waits for a reload with the newer data must not take this for its answer.
      if superseded then call('HDEL', hash, 'rolled_back') end
      if plain then
        call('HDEL', hash, 'run', 'control', 'local', 'crashes', 'crash_at', 'lost_at')
        if h[3] then call('HDEL', hash, 'restarts', 'failed_at', 'restart_times') end
      else
        call('HDEL', hash, 'run', 'control', 'local')
      end
      if saved == '' then call('HDEL', hash, 'saved', 'saved_at', 'saved_by') end
      local entries = indexed[state]
      if not entries then
        entries = {}
        indexed[state] = entries
      end
      local last = #entries
      entries[last + 1], entries[last + 2] = now, id
      if not again then
        unpause(id, hash)
      elseif h[4] then
        call('ZREM', timers, id)
        call('SADD', paused, id)
        -- Resumed, it waits for the rest of its delay.
        if mode == 'timer' then
          call('HSET', hash, 'not_before', string.format('%.3f', (now_ms + tonumber(kind.detail)) / 1000))
        end
      elseif mode == 'timer' then
        call('ZADD', timers, whole(now_ms + tonumber(kind.detail)), id)
      elseif mode == 'queue' then
        call('ZREM', timers, id)
        call('RPUSH', queue, id)
        stays[id] = true
      end
    end
    if verdict ~= 'BADTYPE' then
      over[id] = true
      dropped[#dropped + 1] = id
    end
  end
  if verdict == 'OK' and kind.event ~= '' then call('PUBLISH', channel .. id, kind.event) end
  reply[i] = verdict
end

if #dropped > 0 then
  call('HDEL', runs, unpack(dropped))
  call('ZREM', leases, unpack(dropped))
  -- Made where it is needed: nearly no run has a slot.
  if call('EXISTS', own .. 'slotted') == 1 then
    --- include: slots, wake, give_back
    give_back(dropped, stays)
  end
end
for state, entries in pairs(indexed) do pcall('ZADD', index[state], unpack(entries)) end
return table.concat(reply, ' ')
