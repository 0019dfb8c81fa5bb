-- Set the data of a task ('' for none); a missing hash is not created.
--
-- The answer to a reload is removed with the data that it was about: the next request repeats none (see preview.lua).
--
-- Returns OK, NOHASH or BADTYPE.
--- include: names
local known = pcall('HEXISTS', hash, 'function')
if type(known) == 'table' then return 'BADTYPE' end
if call('EXISTS', hash) == 0 then return 'NOHASH' end
if data == '' then call('HDEL', hash, 'data') else call('HSET', hash, 'data', data) end
call('HDEL', hash, 'reload_refused', 'reloaded')
return 'OK'
