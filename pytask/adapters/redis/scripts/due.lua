-- Move ids whose time has come from the timers to the queue.
--
-- Returns how many of the ids were moved, milliseconds until the next timer (-1 none, 0 due) and until the next
--       schedule (-1 none, 0 due); then up to `most` ids that are due.
--
-- A call without ids only looks.  The ids of its answer are those of the next call, which looks again.
--
-- The hash decides: an id whose hash is gone, or whose task runs or is at rest by now, waits no more, and only
-- leaves the timers.  (A worker of an older release leaves it there as it claims or stops the task.)
-- All reads come first, so that a wrong type is met before any write; the ids leave the timers last.
--- include: names, time, now_ms, places
local rests = places_in(resting)
call('LLEN', queue)
call('HLEN', runs)
call('ZCARD', timers)
local moved, over = {}, {}
for i, hash in ipairs(hashes) do
  local id = ids[i]
  local at = call('ZSCORE', timers, id)
  if at and tonumber(at) <= now_ms then
    local state = pcall('HGET', hash, 'state')
    local waits = type(state) ~= 'table' and state ~= running and (state == delayed or not rests[state])
    if waits and call('EXISTS', hash) == 1 and call('HEXISTS', runs, id) == 0 then moved[#moved + 1] = id end
    over[#over + 1] = id
  end
end
if #moved > 0 then call('LPUSH', queue, unpack(moved)) end
if #over > 0 then call('ZREM', timers, unpack(over)) end
-- Milliseconds until the first of a sorted set.
local function until_first(key)
  local first = pcall('ZRANGE', key, 0, 0, 'WITHSCORES')
  return first[2] and math.max(0, math.ceil(tonumber(first[2]) - now_ms)) or -1
end
local found = {#moved, until_first(timers), until_first(schedules)}
if most > 0 then
  local next_ids = call('ZRANGEBYSCORE', timers, '-inf', now_ms, 'LIMIT', 0, most)
  for i = 1, #next_ids do found[3 + i] = next_ids[i] end
end
return found
