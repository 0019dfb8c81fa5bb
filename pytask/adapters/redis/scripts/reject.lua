-- Remove an invalid id from its list, and record it as rejected.
--
-- Returns OK or MOVED (it is no longer in the queue, or has become a task).
--- include: names, time
local id, hash = raw, hashes[1]
if still == 'long' then
  id = nil
  for i = 1, 1024 do
    local found = call('LINDEX', source, -i)
    if not found then break end
    if found:sub(1, #raw) == raw then
      id = found
      break
    end
  end
  if not id then return 'MOVED' end
elseif still ~= '' then
  local type_of = call('TYPE', hash)
  if type(type_of) == 'table' then type_of = type_of.ok end
  if still == 'none' and type_of ~= 'none' then return 'MOVED' end
  if still == 'other' and (type_of == 'hash' or type_of == 'none') then return 'MOVED' end
  if still == 'local' and (type_of ~= 'hash' or call('HEXISTS', hash, 'local') == 0) then return 'MOVED' end
end
if still ~= 'long' and not call('LPOS', source, id, 'RANK', -1, 'MAXLEN', 1024) then return 'MOVED' end
call('LPUSH', rejected, note_head .. t[1] .. note_tail)
call('LTRIM', rejected, 0, most - 1)
if channel ~= '' then call('PUBLISH', channel, event) end
call('LREM', source, -1, id)
return 'OK'
