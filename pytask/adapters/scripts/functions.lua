-- The names of the functions of tasks.
--
-- KEYS  the hash of each id     ARGV  1 bytes of the longest name
-- Returns a name for each, '' where there is none or where it is longer than a name can be.
local names = {}
for i, hash in ipairs(KEYS) do
  local size = redis.pcall('HSTRLEN', hash, 'function')
  local fits = type(size) == 'number' and size <= tonumber(ARGV[1])
  names[i] = fits and redis.call('HGET', hash, 'function') or ''
end
return names
