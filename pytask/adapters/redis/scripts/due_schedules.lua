-- The schedules that are due.
--
-- Returns the time in ms, the time of the next schedule that is not among them (-1 none), and for each its name
--       and its time.
-- Where an occurrence waits for a run that is over by now, the next look is this one.  (It may have been put off to
-- `never`, as its schedule cannot be used: so it stays.  And after a step back of the clock its time may be ahead.)
--- include: names, time, now_ms, whole, number
for i, name in ipairs(ended) do
  local at, behind = tonumber(call('ZSCORE', schedules, name) or nil), pcall('HGET', hashes[i], 'behind')
  local waits = type(behind) == 'string' and number(behind) > 0 and number(behind) <= now_ms
  if waits and at and at > now_ms and at < never then
    call('ZADD', schedules, whole(now_ms), name)
  end
end
local due = call('ZRANGEBYSCORE', schedules, '-inf', whole(now_ms), 'WITHSCORES', 'LIMIT', 0, most)
local after = call('ZRANGE', schedules, #due / 2, #due / 2, 'WITHSCORES')
return {whole(now_ms), after[2] or '-1', unpack(due)}
