-- Pause a schedule, or resume it.
--
-- Returns OK, STATE (it is so already) or NOHASH.
-- One that is resumed goes on with its next time; what was due meanwhile was skipped, or is not made up for.
--- include: names, time, now_ms
call('ZCARD', schedules)
local mark = call('HGET', schedule, 'paused')
if call('EXISTS', schedule) == 0 then return 'NOHASH' end
local by_hand = mark and mark ~= '' and mark ~= '0' and mark ~= fault
if paused then
  if by_hand then return 'STATE' end
  call('HSET', schedule, 'paused', '1')
  call('ZADD', schedules, 'NX', 0, name)
  return 'OK'
end
call('HDEL', schedule, 'paused', 'error')
local stored = tonumber(call('ZSCORE', schedules, name) or '')
local lost = not stored or stored < now_ms or stored >= 2 ^ 53 - 1
if by_hand or mark == fault or not stored then
  if lost then call('ZADD', schedules, 0, name) end
  return 'OK'
end
return 'STATE'
