-- Read the names of the functions of tasks.
--
-- Returns a name for each, '' if there is none or if it is too long.
--- include: names
local found = {}
for i, hash in ipairs(hashes) do
  local size = pcall('HSTRLEN', hash, 'function')
  local fits = type(size) == 'number' and size <= longest
  found[i] = fits and call('HGET', hash, 'function') or ''
end
return found
