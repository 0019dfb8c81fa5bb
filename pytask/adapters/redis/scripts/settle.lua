-- Confirm that the run started by a reload is alive (see reload.lua).
--
-- Returns OK, FENCED or GONE.
--
-- Its only write needs no memory.
--- include: names
if call('HGET', runs, id) ~= run then return 'FENCED' end
local h = pcall('HMGET', hash, 'run')
if h.err or h[1] ~= run then return 'GONE' end
call('HDEL', hash, 'settling')
return 'OK'
