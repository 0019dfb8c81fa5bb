-- A producer's HSET and LPUSH for many tasks of one function, in one step.
--
-- Returns a flat array: position, then ALREADY (this very task waits or runs), FINISHED (a task of this
-- function has ended: it has the new data now, and is to be started) or STATE (another task or key is there),
-- for each id that was not queued; empty where all were.
-- A task that has ended and is to start later is queued here: the claim moves it to the timers.
-- A key of another type is met before anything is written.
--- include: names, ids, places
call('LLEN', queue)
local ended = places_in(finished)
local waiting, reply = {}, {}
-- Writes the fields of a task that say when it starts; whether it starts later.
local function schedule(i, hash)
  local when, restart = starts[2 * i - 1] or '', starts[2 * i] or ''
  if restart ~= '' then call('HSET', hash, 'restart', restart) end
  if when == '' then return false end
  if when:sub(1, 1) == '+' then
    local t = call('TIME')
    when = string.format('%.6f', t[1] + t[2] / 1000000 + tonumber(when))
  end
  call('HSET', hash, 'not_before', when)
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
    if new == '' then
      call('HSET', hash, 'function', func)
    else
      call('HSET', hash, 'function', func, 'data', new)
    end
    if #starts > 0 then schedule(i, hash) end
    waiting[#waiting + 1] = ids[i]
  end
end
if #waiting > 0 then call('LPUSH', queue, unpack(waiting)) end
return reply
