-- Make a schedule, or change it: what it did so far, and whether it is paused, stays.
--
-- Returns OK (it is new, or its times are others: it gets its next time from a worker) or ALREADY (they are not).
-- An occurrence of the old times that is due, and that nobody has started yet, is recorded as skipped.
-- A definition that does not change keeps the next time, however often it is repeated.
-- Nothing is changed, and it is MOVED, where the data is not that of `known_marker`: after a loss of all data a worker waits
-- before it stores its schedules, and a call that was sent before it knew of the loss must not come through.
--- include: names, known_marker, time, now_ms, whole, number, places, overdue
local timed = places_in(timed_by)
call('ZCARD', schedules)
local old = call('HMGET', schedule, unpack(definition))
local mark = call('HGET', schedule, 'paused')
local stored = call('ZSCORE', schedules, name)
if lost and stored and call('EXISTS', schedule) == 1 then return 'ALREADY' end
local same = stored and mark ~= fault
for i, field in ipairs(definition) do
  if (old[i] or '') ~= values[i] then
    if timed[field] then same = false end
    if values[i] == '' then call('HDEL', schedule, field) else call('HSET', schedule, field, values[i]) end
  end
end
if data == '' then call('HDEL', schedule, 'data') else call('HSET', schedule, 'data', data) end
call('HSET', schedule, 'origin', origin)
if mark == fault then call('HDEL', schedule, 'paused', 'error') end
if same then return 'ALREADY' end
skip_overdue(stored, mark and mark ~= '' and mark ~= '0' and mark ~= fault and 'paused' or 'late')
call('ZADD', schedules, 0, name)
return 'OK'
