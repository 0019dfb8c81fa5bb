-- E15: take an id that cannot be a task out of its list, and keep a note of it.
--
-- KEYS  1 the list it is in  2 rejected (list)  3 (absent for an id that cannot be a key) its hash
-- ARGV  1 id as it stands in the queue, or its beginning (long)  2-3 the note (JSON), around the time  4 how many notes to keep
--       5 what must still hold: '' nothing, none (no such key), other (not a hash), local; or long: the
--       first from the tail that begins with the id is meant
--       6 channel ('' for none)  7 the `rejected` event
-- Returns OK or MOVED (it left the queue, or is a task by now).
local kind, id = ARGV[5], ARGV[1]
if kind == 'long' then
  id = nil
  for i = 1, 1024 do
    local found = redis.call('LINDEX', KEYS[1], -i)
    if not found then break end
    if found:sub(1, #ARGV[1]) == ARGV[1] then
      id = found
      break
    end
  end
  if not id then return 'MOVED' end
elseif kind ~= '' then
  local type_of = redis.call('TYPE', KEYS[3])
  if type(type_of) == 'table' then type_of = type_of.ok end
  if kind == 'none' and type_of ~= 'none' then return 'MOVED' end
  if kind == 'other' and (type_of == 'hash' or type_of == 'none') then return 'MOVED' end
  if kind == 'local' and (type_of ~= 'hash' or redis.call('HEXISTS', KEYS[3], 'local') == 0) then
    return 'MOVED'
  end
end
if kind ~= 'long' and not redis.call('LPOS', KEYS[1], id, 'RANK', -1, 'MAXLEN', 1024) then return 'MOVED' end
redis.call('LPUSH', KEYS[2], ARGV[2] .. redis.call('TIME')[1] .. ARGV[3])
redis.call('LTRIM', KEYS[2], 0, ARGV[4] - 1)
if ARGV[6] ~= '' then redis.call('PUBLISH', ARGV[6], ARGV[7]) end
redis.call('LREM', KEYS[1], -1, id)
return 'OK'
