-- The ids at the tail of a list, the next one first; nothing is taken.
--
-- Returns the ids; of one that is too long its beginning, one byte over the limit, and none behind it.
--
-- One at a time: a producer may push ids of hundreds of megabytes, and not even Redis shall copy many.
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
