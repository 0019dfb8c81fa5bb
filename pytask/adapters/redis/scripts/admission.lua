-- Not a verb: sections of claim.lua about limits.  Which tasks may start, and where the others wait; see slots.lua.

--- ids_wait
local groups_there
-- Whether any id waits for a slot.
local function ids_wait()
  if groups_there == nil then groups_there = size('ZCARD', own .. 'groups') > 0 end
  return groups_there
end

--- rates
-- Starts in a time (GCRA, see pytask/domain/limits.py).  `rates` has for each function the time at which its next
-- start would be due at an even pace; `rated:<function>` the ids that wait in the timers for their start, by
-- that time.  Both in microseconds.
local LOOKED = 256 -- entries of ids that wait no more
local put_off = {} -- ids of this call, which go to the timers at its end
-- The last time for which a start is put off; nil if it has passed.
local function last_put_off(key)
  for _ = 1, LOOKED do
    local last = call('ZRANGE', key, -1, -1, 'WITHSCORES')
    if not last[2] or tonumber(last[2]) <= tonumber(now_us) then return end
    -- Stopped or deleted, it left only the timers.
    local due = put_off[last[1]] or tonumber(call('ZSCORE', timers, last[1]) or 0)
    if due == math.ceil(last[2] / 1000) then return tonumber(last[2]) end
    call('ZREM', key, last[1])
  end
end
-- The time in ms until which a task must wait for its start; nil if it may start, which then counts.
local function not_yet(id, func)
  local rule = rule_of[func]
  if not rule or rule.interval <= 0 then return end
  local key, now_n, count = own .. 'rated:' .. func, tonumber(now_us), pcall('ZCARD', own .. 'rated:' .. func)
  if type(count) ~= 'number' or type(pcall('HLEN', own .. 'rates')) ~= 'number' then
    return now_ms + 10000 -- keys of another type: nobody knows, see doctor
  end
  -- Nothing is put off further than this, except by a clock that was ahead and has been set back.
  local furthest = now_n + rule.burst + rule.interval
  if count > 0 and tonumber(call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]) > furthest + rule.interval * count then
    call('DEL', key)
  end
  local arrival = number(call('HGET', own .. 'rates', func))
  if arrival > furthest then
    -- Stored, or it would be put off again each time that it is looked at.
    arrival = furthest
    call('HSET', own .. 'rates', func, whole(furthest))
  end
  local mine = tonumber(call('ZSCORE', key, id) or nil)
  if mine and mine > now_n then return math.ceil(mine / 1000) end
  local fits = arrival - rule.burst
  local last = last_put_off(key)
  -- Others wait for their turn: before them goes only what was one of them, or finds a start that they leave.
  if fits <= now_n and (mine or not last or fits + rule.interval <= now_n) then
    call('HSET', own .. 'rates', func, whole(math.max(arrival, now_n) + rule.interval))
    if mine then call('ZREM', key, id) end
    return
  end
  local at = math.max(fits, (last or 0) + rule.interval)
  call('ZREMRANGEBYSCORE', key, '-inf', whole(now_n - 3600 * 1000000))
  call('ZADD', key, whole(at), id)
  put_off[id] = math.ceil(at / 1000)
  return put_off[id]
end

--- group_of
-- What the data names as its group; nil if that is no text.
local function named_in(data, path)
  local found
  xpcall(function() found = cjson.decode(data) end, function() end)
  for name in path:gmatch('[^.]+') do
    if type(found) ~= 'table' then return '' end
    found = found[name]
  end
  if found == nil or found == cjson.null then return '' end
  if type(found) == 'number' and found == math.floor(found) and math.abs(found) < 10 ^ 15 then
    return string.format('%.0f', found + 0)
  end
  return type(found) == 'string' and found or nil
end
-- The group of a task, "" for none; why it cannot be one; whether its data says so, and its hash does not yet.
local function group_of(text, func, data)
  local told = false
  if not text or text == '' then
    local rule = rule_of[func]
    if not rule or rule.path == '' or not data then return '' end
    if #data > largest_read then return '', 'large' end
    text, told = named_in(data, rule.path), true
    if not text then return '', 'data' end
    if text == '' then return '' end
  end
  if #text > longest_group then return '', 'long ' .. #text end
  if not is_utf8(text) then return '', 'bytes' end
  return text, nil, told
end

--- admission
-- It uses names of claim.lua: what that has read, and collects for its end.
local runners_there, holders, leads, wakes, waiters = size('HLEN', own .. 'runners') > 0, {}, {}, {}, {}
local crowds = {}
local function is_taken(entry, most, id, turn)
  local key = slots_of(entry)
  if size('SCARD', key, most) >= most and pcall('SISMEMBER', key, id) ~= 1 then return true end
  return not turn and size('ZCARD', line_of(entry)) > 0
end
-- The time at which an id came to the waiting list that it has left; nil if it has left none.
local woken_there, arrived = size('HLEN', own .. 'woken') > 0, {}
if woken_there then
  for i, at in ipairs(call('HMGET', own .. 'woken', unpack(ids))) do arrived[ids[i]] = at end
end
local function woken(id) return arrived[id] or nil end
-- Whether the id is the one that its start put into the queue for its group.
local function is_runner(id, group)
  return runners_there and group ~= '' and pcall('HGET', own .. 'runners', group) == id
end
-- What keeps a task from its slots: the entry and its limit; nil if they are free.  A free slot is that of the one
-- that was woken for it: others go behind those that wait.
local function obstacle(id, group, func)
  local most = group ~= '' and group_limit(group, func) or nil
  local turn = not ids_wait() or woken(id) or is_runner(id, group)
  if most and is_taken('group:' .. group, most, id, turn) then return 'group', group, most end
  most = func and function_limit(func) or nil
  -- Until they are known, all are taken: see serve.lua, which counts them.
  if most and (not keeps_slots(func) or is_taken('function:' .. func, most, id, turn)) then
    return 'function', func, most
  end
end
-- Pushed again while it waited for a slot: it waits elsewhere now, or runs.
local function leave_lines_of(id, group, func)
  if not ids_wait() or woken(id) then return end
  if group ~= '' then pcall('ZREM', line_of('group:' .. group), id) end
  if func then pcall('ZREM', line_of('function:' .. func), id) end
end
-- An id that leaves the queue without a run: the next of its group gets its turn.
local function pass_on(id, group, func)
  leave_lines_of(id, group, func)
  if group ~= '' and (runners_there or ids_wait()) then leads[#leads + 1] = {group} end
end
-- Into the waiting list of what it lacks; the answer.  A task that was never claimed has no state, and needs none.
local function hold_back(i, id, hash, h, group, kind, name, most)
  local entry, state = kind .. ':' .. name, h[3]
  if state or h[9] then
    local text = (index[state] and state or unknown) .. ' ' .. wait .. ' limit ' .. escaped(worker, 64) .. ' '
    call('HSET', hash, 'state', wait, 'last_update', now, noted(h[9], text .. escaped(entry, 200), true))
    if index[state] and state ~= wait then leave(id, state) end
    waiters[#waiters + 1] = id
  end
  call('PERSIST', hash)
  pcall('ZADD', line_of(entry), woken(id) or whole(now_us - arrivals + i), id)
  crowds[#crowds + 1], crowds[#crowds + 2] = 0, entry
  if timed then left_timers[#left_timers + 1] = id end
  publish[#publish + 1] = id
  publish[#publish + 1] = waiting_event .. cjson.encode(kind) .. ',"name":' .. cjson.encode(name)
    .. ',"limit":' .. whole(most) .. '}}'
  if kind == 'function' then
    if group ~= '' then pcall('ZREM', line_of('group:' .. group), id) end
    if group ~= '' then leads[#leads + 1] = {group} end
    return 'WAITING ' .. (keeps_slots(name) and '-1000' or '0')
  end
  if is_runner(id, group) then pcall('HDEL', own .. 'runners', group) end
  if h[1] and ids_wait() then pcall('ZREM', line_of('function:' .. h[1]), id) end
  if keeps_slots(h[1]) then wakes[#wakes + 1] = 'function:' .. h[1] end
  return 'WAITING -1000'
end
-- The slots of a run that begins.
local function settle_in(id, group, func)
  local most = (ids_wait() or runners_there) and group ~= '' and group_limit(group, func) or nil
  -- With a limit it would have been held back behind those that wait, and itself.
  if ids_wait() and (not most or not func or not function_limit(func)) then leave_lines_of(id, group, func) end
  func = func and keeps_slots(func) and func or ''
  if group == '' and func == '' then return end
  if group ~= '' then
    call('SADD', slots_of('group:' .. group), id)
    if is_runner(id, group) then leads[#leads + 1] = {group, most} end
  end
  if func ~= '' then call('SADD', slots_of('function:' .. func), id) end
  holders[#holders + 1], holders[#holders + 2] = id, holding(group, func)
end
-- After the registry is written: the slots, and the ids that wait for one.
local function hold_slots()
  if #holders > 0 then pcall('HSET', own .. 'slotted', unpack(holders)) end
  if #crowds > 0 then pcall('ZADD', own .. 'groups', 'NX', unpack(crowds)) end
  for _, id in ipairs(waiters) do pcall('ZADD', index[wait], now, id) end
end
-- After the ids have left the queue: those that get their turn now go there.
local function give_turns()
  if woken_there then
    local left = {''}
    for i = 1, #ids do
      if arrived[ids[i]] and words[i] ~= 'MOVED' and words[i] ~= 'ROTATED' then left[#left + 1] = ids[i] end
    end
    call('HDEL', own .. 'woken', unpack(left))
  end
  for _, one in ipairs(leads) do
    if one[2] and size('SCARD', slots_of('group:' .. one[1])) >= one[2] then
      pcall('HDEL', own .. 'runners', one[1])
    else
      lead(one[1])
    end
  end
  for _, entry in ipairs(wakes) do wake(entry) end
  rise()
end
