-- A producer's HSET and LPUSH for many tasks of one function, in one step.
--
-- Returns a flat array: position, then ALREADY (this very task waits or runs), FINISHED (a task of this
-- function has ended: it has the new data now, and is to be started) or STATE (another task or key is there),
-- for each id that was not queued; empty where all were.
-- A task that has ended and is to start later is queued here: the claim moves it to the timers.
-- A task of a group goes to its waiting list, where the group has others that wait: each group has one id in the
-- queue, which the next follows when its run begins, so that groups take turns.
-- A key of another type is met before anything is written.
--- include: names, ids, places, slots
call('LLEN', queue)
local ended = places_in(finished)
local waiting, reply = {}, {}
-- Writes the fields of a task that say when it starts; whether it starts later.  A `new` one has its group.
local function schedule(i, hash, new)
  local when, restart, group = starts[4 * i - 3] or '', starts[4 * i - 2] or '', starts[4 * i - 1] or ''
  local trace = starts[4 * i] or ''
  if trace ~= '' then call('HSET', hash, 'traceparent', trace) end
  if group ~= '' and not new then call('HSET', hash, 'group', group) end
  if restart ~= '' then call('HSET', hash, 'restart', restart) end
  if when == '' then return false end
  if when:sub(1, 1) == '+' then
    local t = call('TIME')
    when = string.format('%.6f', t[1] + t[2] / 1000000 + tonumber(when))
  end
  call('HSET', hash, 'not_before', when)
  return true
end
-- Whether a new task went to the waiting list of its group instead of the queue.
local behind, crowds, t = {}, {}, nil
local function lines_up(i)
  local group, id = starts[4 * i - 1] or '', ids[i]
  if group == '' then return false end
  local entry = 'group:' .. group
  if behind[group] == nil then
    local waits = size('ZCARD', line_of(entry), -1)
    if waits == 0 then
      crowds[#crowds + 1] = 0
      crowds[#crowds + 1] = entry
    end
    behind[group] = waits > 0 or waits == 0 and pcall('HEXISTS', own .. 'runners', group) == 1
    if not behind[group] then
      behind[group] = waits == 0
      pcall('HSET', own .. 'runners', group, id)
      return false
    end
  elseif not behind[group] then
    return false
  end
  t = t or call('TIME')
  call('ZADD', line_of(entry), string.format('%.0f', t[1] * 1000000 + t[2] + i), id)
  return true
end
for i = 1, #hashes do
  local hash, new = hashes[i], data[i]
  if check and call('EXISTS', hash) == 1 then
    local h = pcall('HMGET', hash, 'function', 'data', 'state')
    local word = 'STATE'
    if not h.err and h[1] == func then
      if ended[h[3]] then
        word = 'FINISHED'
        call('HDEL', hash, 'traceparent') -- of the start before
        if new == '' then call('HDEL', hash, 'data') else call('HSET', hash, 'data', new) end
        if schedule(i, hash) then
          call('HDEL', hash, 'crashes', 'restarts', 'failed_at', 'restart_times')
          waiting[#waiting + 1] = ids[i]
          word = nil
        end
      elseif (h[2] or '') == new then
        word = 'ALREADY'
      end
    end
    if word then
      reply[#reply + 1] = i
      reply[#reply + 1] = word
    end
  else
    local group = #starts > 0 and starts[4 * i - 1] or ''
    if group ~= '' then
      call('HSET', hash, 'function', func, 'group', group, new == '' and 'function' or 'data', new == '' and func or new)
    elseif new == '' then
      call('HSET', hash, 'function', func)
    else
      call('HSET', hash, 'function', func, 'data', new)
    end
    if #starts == 0 or schedule(i, hash, true) or not lines_up(i) then waiting[#waiting + 1] = ids[i] end
  end
end
if #crowds > 0 then pcall('ZADD', own .. 'groups', 'NX', unpack(crowds)) end
if #waiting > 0 then call('LPUSH', queue, unpack(waiting)) end
return reply
