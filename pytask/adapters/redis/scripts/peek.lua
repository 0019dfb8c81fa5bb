-- Read the ids at the tail of a list, the next one first; nothing is removed.
--
-- Returns the ids; an id that is too long is cut one byte over the limit, and is the last one.
--
-- Reads one at a time: a producer may push ids of hundreds of megabytes, and Redis should not copy many.
--- include: names
local found = {}
for i = 1, most do
  local id = call('LINDEX', source, -i)
  if not id then break end
  if #id > longest_id then
    found[i] = id:sub(1, longest_id + 1)
    break
  end
  found[i] = id
end
return found
