-- Pause functions, so that no worker starts their tasks, or resume them; `*` stands for all.
--
-- Returns for each name 1 if it was changed, else 0.
--
-- Tasks of a resumed function wait in its parking list: workers are told to take them from there at once. (Without
-- the right to do so, as roles of older releases are, they look there themselves, every 10 s.)
--- include: names
call('SCARD', parked)
local changed = {}
for i, name in ipairs(functions) do
  if not resume then
    changed[i] = call('SADD', paused_functions, name)
  else
    changed[i] = call('SREM', paused_functions, name)
    local waiting = name == '*' and call('SMEMBERS', parked) or {name}
    for _, one in ipairs(waiting) do pcall('PUBLISH', hint_channel, one) end
  end
end
return changed
