-- Not a verb: sections about the slots of groups and functions, included like those of prelude.lua.
--
-- They use `own`, the prefix of pytask's own keys: only the script knows the names behind it.
--
--   slots:<entry>    the ids whose runs hold a slot (set); an entry is `group:<name>` or `function:<name>`
--   group:<entry>    the ids that wait for one (zset by arrival; below 0: they came from the queue)
--   slotted          id -> the slots that its run holds, as `holding` writes them (hash)
--   groups           the entries for which ids wait, by the time (s) of the last look (zset)
--   runners          group -> the id that its start put into the queue for it; others follow it (hash)
--   woken            ids that left a waiting list for the queue, with their arrival there (hash)
--   limited          functions whose slots are kept, as each has or had a limit (set)
--   limits           entry -> limit (hash), written by clients
--
-- A client may have made a key of another type of any of them: none may end a script that has written.

--- slots
local function slots_of(entry) return own .. 'slots:' .. entry end
local function line_of(entry) return own .. 'group:' .. entry end
-- The number that a command returns; `broken` for a key of another type.
local function size(command, key, broken)
  local n = pcall(command, key)
  return type(n) == 'number' and n or broken or 0
end
-- What a run holds, as the hash `slotted` has it: "" for no group, or no slot of the function.
local function holding(group, func) return #group .. ':' .. group .. func end
-- The entries in that; nil for each that it lacks.
local function entries_of(held)
  local length, rest = held:match('^(%d+):(.*)$')
  if not length then return end
  local group, func = rest:sub(1, length), rest:sub(length + 1)
  return #group > 0 and 'group:' .. group or nil, #func > 0 and 'function:' .. func or nil
end

--- limits
local limits_count, read_limits = size('HLEN', own .. 'limits'), {}
-- A few are read at once: each task of a group asks for two.
if limits_count > 0 and limits_count <= 8 then
  local all = call('HGETALL', own .. 'limits')
  for at = 1, #all, 2 do read_limits[all[at]] = all[at + 1] end
end
-- The live limit of an entry; nil if there is none, or none that is a number.
local function limit_of(entry)
  local text = read_limits[entry]
  if text == nil and limits_count <= 8 then return end
  if type(text) ~= 'number' and text ~= false then
    if not text and limits_count > 8 then text = pcall('HGET', own .. 'limits', entry) end
    read_limits[entry] = type(text) == 'string' and #text <= limit_digits and text:find('^%d+$') and tonumber(text)
      or false
  end
  return read_limits[entry] or nil
end
local rule_of = {}
for i = 1, #rules do rule_of[rules[i].func] = rules[i] end
-- The limit in force; a negative number in a rule is none.
local function group_limit(group, func)
  local rule = rule_of[func]
  return limit_of('group:' .. group) or limit_of('group:*')
    or rule and rule.group_limit >= 0 and rule.group_limit or nil
end
local function function_limit(func)
  local rule = rule_of[func]
  return limit_of('function:' .. func) or rule and rule.limit >= 0 and rule.limit or nil
end

--- kept_slots
local some_limited, kept_slots = size('SCARD', own .. 'limited') > 0, {}
-- Whether the slots of a function are kept.
local function keeps_slots(func)
  if not some_limited then return false end
  if kept_slots[func] == nil then kept_slots[func] = pcall('SISMEMBER', own .. 'limited', func) == 1 end
  return kept_slots[func]
end

--- hold
-- Give a run its slots, whether or not they are free: it lives.  What it holds already stays: its hash, which says no
-- more, may have been created again since.
local function hold(id, group, func)
  local held, old_group, old_func = pcall('HGET', own .. 'slotted', id), nil, nil
  if type(held) == 'string' then old_group, old_func = entries_of(held) end
  if old_group then group = old_group:sub(7) end
  if func == '' and old_func then func = old_func:sub(10) end
  if group .. func == '' then return end
  if group ~= '' then pcall('SADD', slots_of('group:' .. group), id) end
  if func ~= '' then pcall('SADD', slots_of('function:' .. func), id) end
  pcall('HSET', own .. 'slotted', id, holding(group, func))
end

--- take_slots
local function take_slots(id, group, func)
  hold(id, group and #group <= longest_group and group or '', func and keeps_slots(func) and func or '')
end

--- wake
local next_ones, last_ones, risen, queue_is_list = {}, {}, {}, nil
-- The next id that waits for a slot: `rise` puts it into the queue.  One that came from there is next then, and one
-- that was put there by its start goes behind those that wait, so that groups take turns.  An id whose task waits
-- no more, or for something else, only leaves.
local function wake(entry)
  -- They stay where they are while the queue is a key of another type.
  if queue_is_list == nil then queue_is_list = type(pcall('LLEN', queue)) == 'number' end
  if not queue_is_list then return end
  local kind, name = entry:match('^(%a+):(.*)$')
  for _ = 1, 64 do
    local first = pcall('ZPOPMIN', line_of(entry))
    local id = first[1]
    if not id then return end
    local h = pcall('HMGET', own:sub(1, -8) .. id, 'state', kind)
    if not h.err and h[2] == name and (not h[1] or h[1] == wait) then
      local ones = first[2]:byte() == 45 and next_ones or last_ones
      ones[#ones + 1] = id
      risen[#risen + 1], risen[#risen + 2] = id, first[2]
      return id
    end
  end
end
-- Into the queue, those that were woken; at the end of a script.
local function rise()
  if #risen == 0 then return end
  if #next_ones > 0 then call('RPUSH', queue, unpack(next_ones)) end
  if #last_ones > 0 then call('LPUSH', queue, unpack(last_ones)) end
  pcall('HSET', own .. 'woken', unpack(risen))
  next_ones, last_ones, risen = {}, {}, {}
end

--- lead
-- The id that went to the queue for its group left it: the next one goes.
local function lead(group)
  local id = wake('group:' .. group)
  if id then pcall('HSET', own .. 'runners', group, id) else pcall('HDEL', own .. 'runners', group) end
end

--- give_back
-- The slots of runs that have left the registry go to the ids that wait for them; `stays` are ids that are in
-- the queue again, and take their own.
local function give_back(ids, stays)
  if #ids == 0 or size('HLEN', own .. 'slotted') == 0 then return end
  local gone, wanted = {}, size('ZCARD', own .. 'groups') > 0
  for i, held in ipairs(call('HMGET', own .. 'slotted', unpack(ids))) do
    if held then
      local id = ids[i]
      gone[#gone + 1] = id
      -- It is the first of all.
      if stays[id] then pcall('HSET', own .. 'woken', id, string.format('%.0f', -arrivals)) end
      local group, func = entries_of(held)
      if group then pcall('SREM', slots_of(group), id) end
      if func then pcall('SREM', slots_of(func), id) end
      if wanted and not stays[id] then
        if group then wake(group) end
        if func then wake(func) end
      end
    end
  end
  if #gone > 0 then call('HDEL', own .. 'slotted', unpack(gone)) end
  rise()
end

--- leave_lines
local some_groups = size('ZCARD', own .. 'groups') + size('HLEN', own .. 'runners') > 0
-- Out of the waiting lists; before its hash is deleted.  If it was in the queue, the next of its group follows.
local function leave_lines(id, hash, queued)
  -- Handed back, it had a turn, also where nobody waits.
  if queued then pcall('HDEL', own .. 'woken', id) end
  if not some_groups then return end
  local h = pcall('HMGET', hash, 'group', 'function')
  if h.err then return end
  if h[1] and h[1] ~= '' then
    pcall('ZREM', line_of('group:' .. h[1]), id)
    if queued then lead(h[1]) end
  end
  if h[2] then
    pcall('ZREM', line_of('function:' .. h[2]), id)
    if queued then wake('function:' .. h[2]) end
  end
  rise()
end
