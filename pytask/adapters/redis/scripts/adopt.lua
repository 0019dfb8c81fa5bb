-- Restore runs that are alive in the caller and that Redis lost in a failover.
--
-- Returns for each id OK, FENCED (another run exists that is not older) or GONE (the hash does not exist).
--
-- The epoch decides: it grows with every run of an id, so anything that the hash says about an earlier one was
-- over when ours was claimed; the counts that our claim has read are newer.  A request to stop is kept, however: whether
-- it was asked before our claim or after the data went back is not known, and a stop must not be lost.  Begins with a
-- write that needs no memory (see renew.lua).
--- include: names, time, now_us, whole, number, index, escaped, history, slots, kept_slots, hold, take_slots, wake, lead
local REACH = 1024

call('ZREM', leases, '')
call('LLEN', queue)
call('ZCARD', timers)
call('SCARD', paused)
-- The owner knows whether its run is paused; of a pause that it may not have heard of it is told again.
local function keep_pause(i, id, hash, same, since, control)
  if held_runs[i] then
    if not since then call('HSET', hash, 'paused', now) end
    call('SADD', paused, id)
  elseif since and same then
    call('SADD', paused, id)
    if not control then call('HSET', hash, 'control', pause_word) end
  elseif since then
    call('HDEL', hash, 'paused')
    call('SREM', paused, id)
  end
end
-- The counts as our claim has read them: those of the hash may be from before an end that Redis has lost with it.
local function keep_counts(i, hash)
  if crash_counts[i] > 0 then
    call('HSET', hash, 'crashes', whole(crash_counts[i]))
  else
    call('HDEL', hash, 'crashes', 'crash_at', 'lost_at')
  end
  if restart_counts[i] > 0 then
    call('HSET', hash, 'restarts', whole(restart_counts[i]), 'restart_times', restart_times[i])
  else
    call('HDEL', hash, 'restarts', 'failed_at', 'restart_times')
  end
end
local reply = {}
for i, hash in ipairs(hashes) do
  local id, run, epoch = ids[i], new_runs[i], epochs[i]
  local held = call('HGET', runs, id)
  local h = pcall('HMGET', hash, 'run', 'epoch', 'state', 'attempts', 'history', 'control', 'group', 'function', 'paused')
  if h.err or call('EXISTS', hash) == 0 then
    reply[i] = 'GONE'
  else
    local there = number(h[2])
    if there > epoch or (there == epoch and h[1] ~= run) or (held and held ~= run and held ~= h[1]) then
      reply[i] = 'FENCED'
    else
      local from = (index[h[3]] or h[3] == running) and h[3] or unknown
      local line = from .. ' ' .. running .. ' adopt ' .. escaped(worker, 64) .. ' -'
      if h[1] ~= run then
        call('HSET', hash, 'state', running, 'run', run, 'worker', worker, 'epoch', whole(epoch),
          'last_update', now, 'attempts', whole(number(h[4]) + 1), noted(h[5], line))
        call('HDEL', hash, 'output', 'error')
        -- The claim that Redis has lost was the start of this time: whatever else was lost (an early start, a step of the
        -- clock), no other run waits for it.
        call('HDEL', hash, 'not_before')
        if h[6] ~= stop then call('HDEL', hash, 'control') end
        keep_counts(i, hash)
      else
        call('HSET', hash, 'state', running, 'last_update', now, noted(h[5], line))
      end
      keep_pause(i, id, hash, h[1] == run, h[9], h[6])
      call('PERSIST', hash)
      call('HSET', runs, id, run)
      call('ZADD', leases, now_us, id)
      pcall('ZREM', index[h[3]] or index[unknown], id)
      call('ZREM', timers, id)
      -- A claim that Redis has lost had found the group in the data.
      local group = h[7] or groups[i] ~= '' and groups[i] or nil
      if group and not h[7] then call('HSET', hash, 'group', group) end
      if group then pcall('ZREM', line_of('group:' .. group), id) end
      if h[8] then pcall('ZREM', line_of('function:' .. h[8]), id) end
      take_slots(id, group, h[8])
      -- As that claim did: the next of its group follows.
      pcall('HDEL', own .. 'woken', id)
      if group and pcall('HGET', own .. 'runners', group) == id then lead(group) end
      -- Further up in a long queue it is dropped when it is reached: by then it runs.
      if call('LPOS', queue, id, 'RANK', -1, 'MAXLEN', REACH) then call('LREM', queue, -1, id) end
      call('PUBLISH', channel .. id, event[1] .. run .. event[2] .. whole(epoch) .. event[3])
      reply[i] = 'OK'
    end
  end
end
rise()
return reply
