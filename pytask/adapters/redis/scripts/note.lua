-- Store the log lines and the progress of runs since the last call.
--
-- Returns one string of words, for each run OK, FENCED, GONE, or BADTYPE (the log is not a list).
--
-- Does not begin with a write that needs no memory: lines may be lost, so a full Redis may refuse them.
--- include: names, ids
local live = call('HMGET', runs, unpack(ids))
local reply, from = {}, 0
for i = 1, #hashes do
  local hash, run, ring, count = hashes[i], live_runs[i], rings[i], line_counts[i]
  local owner, verdict = pcall('HGET', hash, 'run'), 'OK'
  -- The registry may have lost the run while the hash names it (see commit.lua); otherwise it is another run's.
  if (live[i] or owner) ~= run then
    verdict = 'FENCED'
  elseif owner ~= run then
    verdict = 'GONE'
  else
    if progress[i] ~= '' then
      call('HSET', hash, 'progress', progress[i])
      call('PUBLISH', channel .. ids[i], events[i])
    end
    if count > 0 then
      local length = pcall('RPUSH', ring, unpack(lines, from + 1, from + count))
      if type(length) == 'number' then
        if length > most then call('LTRIM', ring, -most, -1) end
        call('EXPIRE', ring, seconds)
      elseif tostring(length.err):find('WRONGTYPE', 1, true) then
        verdict = 'BADTYPE'
      else
        return length
      end
    end
  end
  from = from + count
  reply[i] = verdict
end
return table.concat(reply, ' ')
