-- Drop leases of nobody: no run is registered, and no hash names one.
--
-- Returns how many were dropped.
--
-- A hash that names a run is left alone: its owner's next renewal puts the registry right (see renew.lua).
-- Every claim writes registry and lease in one step, so nothing that begins can be met half done.
--- include: names
call('ZREM', leases, '')
local dropped = 0
for i, id in ipairs(ids) do
  if type(pcall('HGET', hashes[i], 'run')) ~= 'string' and call('HEXISTS', runs, id) == 0 then
    dropped = dropped + call('ZREM', leases, id)
  end
end
return dropped
