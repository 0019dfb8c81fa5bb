-- The schedules that are due.
--
-- Returns the time in ms, the time of the next schedule that is not among them (-1 none), and for each its name
--       and its time.
-- Where an occurrence waits for a run that is over by now, the next look is this one.  (It may have been put off to
-- `never`, as its schedule cannot be used: so it stays.)
--- include: names, time, now_ms, whole
for i, name in ipairs(ended) do
  local at = tonumber(call('ZSCORE', schedules, name) or nil)
  if at and at > now_ms and at < never and pcall('HEXISTS', hashes[i], 'behind') == 1 then
    call('ZADD', schedules, whole(now_ms), name)
  end
end
local due = call('ZRANGEBYSCORE', schedules, '-inf', whole(now_ms), 'WITHSCORES', 'LIMIT', 0, most)
local after = call('ZRANGE', schedules, #due / 2, #due / 2, 'WITHSCORES')
return {whole(now_ms), after[2] or '-1', unpack(due)}
