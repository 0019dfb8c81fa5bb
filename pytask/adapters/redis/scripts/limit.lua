-- Set the limit of a group or a function, or remove it ('' for that); who waits gets the slots that are free.
--
-- Returns OK, or BADTYPE (the key of the limits is not a hash: nothing done).
--- include: names, slots, wake, lead
if type(pcall('HLEN', own .. 'limits')) ~= 'number' then return 'BADTYPE' end
call('LLEN', queue)
local kind, name = entry:match('^(%a+):(.*)$')
if value == '' then
  call('HDEL', own .. 'limits', entry)
  -- Its slots are no longer kept: with another limit they are counted again.
  if kind == 'function' then
    pcall('SREM', own .. 'limited', name)
    pcall('HDEL', own .. 'building', name)
  end
else
  call('HSET', own .. 'limits', entry, value)
end
-- Whoever looks next looks here first.
pcall('ZADD', own .. 'groups', 'XX', 0, entry)
local free = value ~= '' and tonumber(value) - size('SCARD', slots_of(entry)) or 1
if free > 0 and size('ZCARD', line_of(entry)) > 0 then
  if kind == 'group' then
    lead(name)
  elseif value == '' or pcall('SISMEMBER', own .. 'limited', name) == 1 then
    for _ = 1, math.min(free, 16) do
      if not wake(entry) then break end
    end
  end
  rise()
end
return 'OK'
