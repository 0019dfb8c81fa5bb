-- Free the slots of ids without a run.
--
-- Returns how many ids had some.
--- include: names, slots, wake, give_back
call('HDEL', runs, '')
call('LLEN', queue)
local gone = {}
for i, id in ipairs(ids) do
  if call('HEXISTS', runs, id) == 0 and type(pcall('HGET', hashes[i], 'run')) ~= 'string'
    and pcall('HEXISTS', own .. 'slotted', id) == 1 then
    gone[#gone + 1] = id
  end
end
give_back(gone, {})
return #gone
