-- The schedules that are due.
--
-- Returns the time in ms, the time of the next schedule that is not among them (-1 none), and for each its name
--       and its time.
--- include: names, time, now_ms, whole
local due = call('ZRANGEBYSCORE', schedules, '-inf', whole(now_ms), 'WITHSCORES', 'LIMIT', 0, most)
local after = call('ZRANGE', schedules, #due / 2, #due / 2, 'WITHSCORES')
return {whole(now_ms), after[2] or '-1', unpack(due)}
