-- Pause a schedule that cannot be used, with the reason.
--
-- Returns OK, MOVED (it was changed since it was read), NOHASH (it was deleted: so is its time) or BADTYPE.
-- It is never due, until its time is set again: `ZADD pytask:schedules 0 name`.
--- include: names
local stored = call('ZSCORE', schedules, name)
if not stored or tonumber(stored) ~= score then return 'MOVED' end
local mark = pcall('HGET', schedule, 'paused')
if type(mark) == 'table' then
  call('ZADD', schedules, never, name)
  return 'BADTYPE'
end
if call('EXISTS', schedule) == 0 then
  call('ZREM', schedules, name)
  return 'NOHASH'
end
call('HSET', schedule, 'error', error_text)
if not mark or mark == '' or mark == '0' then call('HSET', schedule, 'paused', fault) end
call('ZADD', schedules, never, name)
return 'OK'
