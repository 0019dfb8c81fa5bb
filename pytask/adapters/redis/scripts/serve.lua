-- Look at the waiting lists that nobody has looked at for a while: a limit may have been raised, a slot may belong
-- to no run, or the id may be lost whose run was to be followed by others.
--
-- Returns how many ids went to the queue, and 1 if there is more to do now.
--
-- The slots of a function are kept from the first limit on: they are counted here, in steps, and while that goes
-- on no run of it begins.
--- include: names, time, slots, limits, kept_slots, hold, wake, lead
local LONGEST, AT_ONCE, MEMBERS, STEPS = 1000, 16, 32, 4
call('HLEN', runs)
local queued = call('LLEN', queue)
local moved, more, looked = 0, 0, tonumber(t[1])

-- Another part of the registry; whether that was the last.
local function count_slots(func)
  local building = own .. 'building'
  local cursor = pcall('HGET', building, func)
  cursor = type(cursor) == 'string' and cursor or '0'
  for _ = 1, STEPS do
    local found = call('HSCAN', runs, cursor, 'COUNT', 250)
    cursor = found[1]
    for at = 1, #found[2], 2 do
      local id = found[2][at]
      local h = pcall('HMGET', own:sub(1, -8) .. id, 'function', 'local', 'group')
      if not h.err and h[1] == func and not h[2] then
        hold(id, h[3] and #h[3] <= longest_group and h[3] or '', func)
      end
    end
    if cursor == '0' then
      call('HDEL', building, func)
      call('SADD', own .. 'limited', func)
      kept_slots[func], some_limited = true, true
      return true
    end
  end
  call('HSET', building, func, cursor)
  return false
end

-- Slots of ids without a run, of a few; how many there were.
local function mend(entry)
  local freed = 0
  for _, id in ipairs(call('SRANDMEMBER', slots_of(entry), MEMBERS)) do
    local run = pcall('HGET', own:sub(1, -8) .. id, 'run')
    if type(run) ~= 'string' and call('HEXISTS', runs, id) == 0 then
      call('SREM', slots_of(entry), id)
      call('HDEL', own .. 'slotted', id)
      freed = freed + 1
    end
  end
  return freed
end

local function limit_in_force(kind, name, entry)
  if kind == 'function' then return function_limit(name) end
  local first = call('ZRANGE', line_of(entry), 0, 0)[1]
  local func = pcall('HGET', own:sub(1, -8) .. first, 'function')
  return group_limit(name, type(func) == 'string' and func or nil)
end

local function serve(entry)
  local kind, name = entry:match('^(%a+):(.*)$')
  if not kind or size('ZCARD', line_of(entry)) == 0 then
    call('ZREM', own .. 'groups', entry)
    return
  end
  call('ZADD', own .. 'groups', t[1], entry)
  local most = limit_in_force(kind, name, entry)
  if most and kind == 'function' and not keeps_slots(name) and not count_slots(name) then
    call('ZADD', own .. 'groups', 0, entry)
    more = 1
    return
  end
  -- Without a limit that is known here, some worker knows one, or it is gone: one id will show.
  local room = most and most - size('SCARD', slots_of(entry), most) or 1
  if room <= 0 and most > 0 then room = room + mend(entry) end
  if room <= 0 or queued > LONGEST then return end
  if kind == 'group' then
    local runner = pcall('HGET', own .. 'runners', name)
    if type(runner) == 'string' and call('LPOS', queue, runner) then return end
    lead(name)
    moved = moved + 1
  else
    for _ = 1, math.min(room, AT_ONCE) do
      if not wake(entry) then break end
      moved = moved + 1
    end
  end
end

local entries = call('ZRANGEBYSCORE', own .. 'groups', '-inf', looked - every, 'LIMIT', 0, most_entries)
-- The clock was set back since these were looked at.
local ahead = call('ZRANGEBYSCORE', own .. 'groups', '(' .. looked, '+inf', 'LIMIT', 0, most_entries - #entries)
for _, entry in ipairs(ahead) do entries[#entries + 1] = entry end
for _, entry in ipairs(entries) do serve(entry) end
rise()
return {moved, more == 1 and 1 or (#entries == most_entries and 1 or 0)}
