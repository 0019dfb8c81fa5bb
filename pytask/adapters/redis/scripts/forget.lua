-- Delete leases without a run: none is registered, and no hash names one.
--
-- Returns the number of deleted leases.
--
-- A hash that names a run is not changed: the next renewal of its owner restores the registry (see renew.lua).
-- Every claim writes registry and lease in one step, so no incomplete claim can be seen.
--- include: names
call('ZREM', leases, '')
local dropped = 0
for i, id in ipairs(ids) do
  if type(pcall('HGET', hashes[i], 'run')) ~= 'string' and call('HEXISTS', runs, id) == 0 then
    dropped = dropped + call('ZREM', leases, id)
  end
end
return dropped
