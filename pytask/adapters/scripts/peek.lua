-- The ids at the tail of a list, the next one first; nothing is taken.
--
-- KEYS  1 the list     ARGV  1 how many  2 bytes of the longest id that can be a task
-- Returns the ids; of one that is too long its beginning, one byte over the limit.
--
-- A producer may push ids of hundreds of megabytes, and a worker looks at hundreds of ids at once.
local ids = redis.call('LRANGE', KEYS[1], -ARGV[1], -1)
local most, found = ARGV[2] + 1, {}
for i = #ids, 1, -1 do
  local id = ids[i]
  found[#found + 1] = #id < most and id or id:sub(1, most)
end
return found
