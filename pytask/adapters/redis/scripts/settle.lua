-- Confirm that the run started by a reload is alive (see reload.lua).
--
-- With `mark` its data has lived long enough: that trial is over, if it is still the one under way.  With `request`
-- this word is dropped if the hash has it: it repeats one that was answered, unless the answer was removed since.
--
-- Returns OK, FENCED or GONE.
--
-- Its only writes need no memory.
--- include: names, fence
local held = call('HGET', runs, id)
local h = pcall('HMGET', hash, 'run', 'trial', 'control', 'reload_refused', 'reloaded')
local stranger = fence(run, held, h[1])
if stranger then return stranger end
if request ~= '' then
  if h[3] == request and (h[4] or h[5]) then call('HDEL', hash, 'control') end
else
  call('HDEL', hash, 'settling')
end
if mark ~= '' and h[2] == mark then call('HDEL', hash, 'trial', 'data_ok') end
return 'OK'
