-- The ids at the tail of a list, the next one first; nothing is taken.
--
-- KEYS  1 the list     ARGV  1 how many  2 bytes of the longest id that can be a task
-- Returns the ids; of one that is too long its beginning, one byte over the limit, and none behind it.
--
-- One at a time: a producer may push ids of hundreds of megabytes, and not even Redis shall copy many.
local most, found = ARGV[2] + 1, {}
for i = 1, tonumber(ARGV[1]) do
  local id = redis.call('LINDEX', KEYS[1], -i)
  if not id then break end
  if #id >= most then
    found[i] = id:sub(1, most)
    break
  end
  found[i] = id
end
return found
