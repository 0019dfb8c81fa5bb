-- Move ids whose time has come from the timers to the queue.
--
-- Returns how many of the ids were moved, milliseconds until the next timer (-1 none, 0 due) and until the next
--       schedule (-1 none, 0 due); whether to look at the waiting lists (see serve.lua); by how many milliseconds
--       the first of those that were moved was late; then up to `most` ids that are due.
--
-- A call without ids only looks.  The ids of its answer are those of the next call, which looks again.
--
-- The hash decides: an id whose hash is gone, or whose task runs or is at rest by now, waits no more, and only
-- leaves the timers.  (A worker of an older release leaves it there as it claims or stops the task.)
-- All reads come first, so that a wrong type is met before any write; the ids leave the timers last.
--- include: names, time, now_ms, ids, places
local rests = places_in(resting)
call('LLEN', queue)
local n = #hashes
local live = n > 0 and call('HMGET', runs, unpack(ids)) or {}
-- Those that are due, the first one first: moved now if the caller has named them, else returned.
local due = call('ZRANGEBYSCORE', timers, '-inf', now_ms, 'LIMIT', 0, n + most)
local place = places_in(ids)
local moved, over, found = {}, {}, {0, -1, -1, 0, 0}
for _, id in ipairs(due) do
  local i = place[id]
  if i then
    local state = pcall('HGET', hashes[i], 'state')
    local there = state or call('EXISTS', hashes[i]) == 1
    local waits = type(state) ~= 'table' and state ~= running and (state == delayed or not rests[state])
    if there and waits and not live[i] then moved[#moved + 1] = id end
    over[#over + 1] = id
  elseif #found < 5 + most then
    found[#found + 1] = id
  end
end
if #moved > 0 then
  found[5] = math.max(0, math.floor(now_ms - tonumber(call('ZSCORE', timers, moved[1]))))
  call('LPUSH', queue, unpack(moved))
end
if #over > 0 then call('ZREM', timers, unpack(over)) end
-- Milliseconds until the first of a sorted set.
local function until_first(key)
  local first = pcall('ZRANGE', key, 0, 0, 'WITHSCORES')
  return first[2] and math.max(0, math.ceil(tonumber(first[2]) - now_ms)) or -1
end
found[1], found[2], found[3] = #moved, until_first(timers), until_first(schedules)
local first = pcall('ZRANGE', own .. 'groups', 0, 0, 'WITHSCORES')
local looked, now_s = tonumber(first[2]), tonumber(t[1])
-- A time ahead: the clock was set back since.
found[4] = looked and (looked <= now_s - every or looked > now_s) and 1 or 0
return found
