-- Claim a batch of ids from the tail of a list, and make each a run.
--
-- The caller names the ids and their runs; or, with a `session`, it claims what stands at the tail: up to `take` ids,
-- and ends before one that cannot be a task.  The i-th gets the run <session>:<base + i>.  Hashes are keys that are not
-- declared then, so this is not for clusters, and only for the queue.
--
-- The reply may be lost, and the caller does not know the ids.  So they are recorded before any run is written, one
-- record for each session.  A call with the base of the record claims nothing: its ids are answered with ALREADY where
-- the run is still theirs, with GONE where only the registry says so, as the hash was deleted, or deleted and created
-- again, since; else with MOVED.  A call with a smaller base is one that comes late: others have
-- followed it, so nobody waits for its answer, and it claims nothing.  With `take` 0 the caller closes a call: what it
-- took is answered as in a repeat, and if it comes later it finds the record, and claims nothing.
-- A `quiet` call is the first of its base, behind a wait of the caller: it leaves no record of nothing, since an idle worker
-- sends one every two seconds.  So a repeat must not be quiet: the first call may come after it.
--
-- Refuses with OTHERSERVER, before any write, where another server answers.
-- Returns two strings: words, and bytes whose lengths are among the words, in order.  The words, for each
--       id: verdict; after UNKNOWN the length of the function; after OK and ALREADY: epoch, crashes, size of
--       data if it is over the limit (else 0), the function (its place in `functions` from 1; 0 none; a
--       name that is not there by its length, negative), length of data (-1 none, or over the limit).  Where the
--       run follows one whose worker died, the crashes have a / and the milliseconds since its last renewal.  After
--       DELAYED the milliseconds until its time, after WAITING the milliseconds until somebody should look at the
--       waiting lists (negative: whoever gives a slot back does).
--       One with a group and no more of these fields has a + behind OK or ALREADY, and the length of the group.
--       A hash with fields that say when, why and with what it starts has a * behind OK or ALREADY, and nine words
--       more: restarts, and the lengths of not_before (0 if it is a time), restart, restart_times, scheduled, the
--       reason why its group cannot be used, its group, saved (negative: over the limit, and not among the bytes), and
--       traceparent.
--       Then the length of each id behind the batch, the next one first, as `peek` returns them; with a session
--       that of one at the most.
--       With a session a third string follows: the ids, with line feeds between; and 1, or 0 where nothing was claimed
--       anew: then the list was not looked at.
--
-- The data of a batch is one reply that a worker holds in memory: where the next id's would take it over
-- the limit, that id and those after it are MOVED and stay where they are.  The first always fits.
--
-- All reads come first, so that a wrong type is met before any write.  A script is not rolled back:
-- the hashes are written first and the ids leave the list last, so an id is always in one of the two places.
-- Ids that get their turn now go to the queue after that.
--
-- Limits: a task whose group or function has no free slot goes to the waiting list of that one, which the end of
-- a run empties (see slots.lua); one whose function has started too many goes to the timers.
--- include: names, server, time, now_us, now_ms, whole, number, plausible, utf8, ids, index, escaped, history

-- What the ids are --------------------------------------------------------------------------------------

local keys, made, record, fresh = {}, {}, nil, false
if session == '' then
  for i = 1, #hashes do
    keys[i], made[i] = hashes[i], new_runs[i]
  end
else
  if take == 0 then call('ZREM', leases, '') end -- a full Redis must not keep a call from being closed
  record = own .. 'claimed:' .. session
  local last = call('GET', record)
  local its_base = last and last:match('^%d+') or '-1'
  fresh = tonumber(its_base) < base
  -- Nothing of the list is looked at: an id that waits there again is not the one that was claimed.
  if tonumber(its_base) == base then
    for id in last:sub(#its_base + 1):gmatch('[^\n]+') do ids[#ids + 1] = id end
  end
end

-- The tail, the next id first.  Those of a batch that the caller names are known to be short; of the others a producer
-- may have made any number of any length: few at a time, and nothing behind one that cannot be a task.
local window, waiting, reach = {}, {}, 0
local at, step, ended = 0, #ids, false
if fresh then
  reach, step = take > 0 and take + 1 or 0, math.min(32, take + 1)
elseif session == '' then
  reach = #ids + math.max(look, #ids + 16)
end
while at < reach and not ended do
  local part = call('LRANGE', source, -at - step, -at - 1)
  local long = false
  for i = #part, 1, -1 do
    local id = part[i]
    at = at + 1
    window[at], waiting[id] = id, true
    long = long or #id > longest_id
  end
  if long then break end
  ended = #part < step
  step = math.min(32, reach - at)
end
if fresh then
  --- include: plain
  for i = 1, math.min(at, take) do
    if not is_plain(window[i]) then break end
    ids[i] = window[i]
  end
end
if session ~= '' then
  local head, prefix = own:sub(1, space), session .. ':'
  for i = 1, #ids do keys[i], made[i] = head .. ids[i], prefix .. whole(base + i) end
end

-- Existing state: the runs ------------------------------------------------------------------------------

local n, named = #ids, session ~= '' and table.concat(ids, '\n') or nil
if n == 0 then
  -- Also of nothing: a call that comes late must not claim after its repeat was answered.
  if fresh and not quiet then call('SET', record, whole(base), 'EX', record_kept) end
  local follows = (window[1] or ''):sub(1, longest_id + 1)
  return {at > 0 and #follows .. '' or '', follows, '', fresh and 1 or 0}
end
local live = call('HMGET', runs, unpack(ids))
call('ZCARD', leases)
local timed = call('ZCARD', timers) > 0
-- One look tells whether any task is paused, grouped or limited at all: nearly always none is, and then nothing else is
-- asked about these.
local in_use = call('EXISTS', paused, paused_functions, own .. 'limits', own .. 'limited', own .. 'slotted',
  own .. 'groups', own .. 'runners', own .. 'woken') > 0
-- Functions that are paused: their tasks are answered as those of functions that nobody knows.
local held_back, all_held_back = {}, false
if in_use then
  call('SCARD', paused)
  for _, name in ipairs(call('SMEMBERS', paused_functions)) do
    held_back[name] = true
    all_held_back = all_held_back or name == '*'
  end
end

-- The answer --------------------------------------------------------------------------------------------

-- Before any run: a script is not rolled back, and no run may exist that a repeat does not find.
if fresh then call('SET', record, whole(base) .. '\n' .. named, 'EX', record_kept) end

local known, words, bytes = {}, {}, {}
for i = 1, #functions do known[functions[i]] = i end
-- The words for a run of the caller.
local function won(verdict, epoch, crashes, size, over, func, data, extra, group, silent)
  local name = not func and 0 or known[func]
  if not name then
    name = -#func
    bytes[#bytes + 1] = func
  end
  local length = -1
  if data and not over then
    length = #data
    bytes[#bytes + 1] = data
  end
  local said = (crashes == 0 and not silent and ' 0 ' or ' ' .. whole(crashes) .. (silent or '') .. ' ')
    .. (over and size or 0) .. ' ' .. name .. ' ' .. length
  if not extra and group ~= '' then
    bytes[#bytes + 1] = group
    return verdict .. '+ ' .. epoch .. said .. ' ' .. #group
  end
  if not (extra and extra.any) then return verdict .. ' ' .. epoch .. said end
  said = said .. ' ' .. extra.restarts
  for i = 1, #extra do
    bytes[#bytes + 1] = extra[i]
    said = said .. ' ' .. (extra.unread > 0 and i == 7 and -extra.unread or #extra[i])
  end
  return verdict .. '* ' .. epoch .. said
end

-- When and why it starts ----------------------------------------------------------------------------------

-- The time of a `not_before` in milliseconds; nil if it is not a time (see pytask/domain/delays.py).
local function due_ms(text)
  local seconds = #text <= longest_field and text:find('^%d+%.?%d*$') and tonumber(text)
  return seconds and seconds <= latest and math.ceil(seconds * 1000) or nil
end
-- The fields of a hash, and how many it has.  Most have nothing but a function and data: then no others are
-- read, since each missing one costs a scan of all present ones.
local function read_hash(hash, over)
  local count, data = call('HLEN', hash), over and '' or 'data'
  if count <= 2 then
    local h = call('HMGET', hash, 'function', data)
    if (h[1] and 1 or 0) + ((over or h[2]) and 1 or 0) == count then return h, count end
  end
  if count == 3 and not over then
    local h = call('HMGET', hash, 'function', 'data', 'group', 'not_before')
    if h[1] and h[2] and (h[3] or h[4]) then return {h[1], h[2], [10] = h[4], [16] = h[3]}, count end
  elseif count == 5 and not over then -- one whose time has come
    local h = call('HMGET', hash, 'function', 'data', 'state', 'not_before', 'last_update')
    if h[1] and h[2] and h[3] and h[4] and h[5] then return {h[1], h[2], h[3], [10] = h[4]}, count end
  end
  return call('HMGET', hash, 'function', data, 'state', 'run', 'epoch', 'attempts', 'crashes', 'local',
    kept > 0 and 'history' or '', 'not_before', 'restart', 'restart_times', 'scheduled', 'restarts', 'saved',
    'group', 'paused', 'traceparent'), count
end
-- Eight of these, nil if none is set: texts for the answer, and the time if it is valid; of the group, its name, or
-- why it is no group.  What was saved before an end is `stale`: a worker of an earlier release did not remove it.
local function few(h, group, fault)
  local text, others = h[10] or '', h[11] or h[12] or h[13] or h[14] or h[15] or h[18] or fault or group ~= ''
  if text == '' and not others then return end
  local due = text ~= '' and due_ms(text) or nil
  if due and due <= now_ms and not others then return end
  local restarts, stale, saved = number(h[14]), h[15] and h[3] == ended_state, h[15] or ''
  if stale then saved = '' end
  local unread = #saved > max_saved and #saved or 0
  local extra = {due and '' or text:sub(1, longest_field), (h[11] or ''):sub(1, longest_field),
    (h[12] or ''):sub(-longest_times), h[13] and #h[13] <= longest_scheduled and h[13] or '', fault or '',
    group, unread > 0 and '' or saved, h[18] and #h[18] <= longest_trace and h[18] or ''}
  extra.restarts, extra.due, extra.text, extra.unread, extra.stale = whole(restarts), due, text, unread, stale
  extra.any = restarts > 0 or #extra[1] + #extra[2] + #extra[3] + #extra[4] + #extra[5] + #group + #saved + #extra[8] > 0
  return extra
end

-- Each id: its verdict, and its hash --------------------------------------------------------------------

local took, rotated, left_timers, delays = {}, {}, {}, {}
local registry, renewed, watched, publish, unindexed = {}, {}, {}, {}, {}
local read, full, epoch_now = 0, false, whole(now_ms)
local function register(id, run)
  local last = #registry
  registry[last + 1], registry[last + 2] = id, run
  renewed[last + 1], renewed[last + 2] = now_us, id
end
-- Removes it from the index of the state that it leaves.
local function leave(id, state)
  local left = index[state] or index[unknown]
  local gone = unindexed[left]
  if not gone then
    gone = {}
    unindexed[left] = gone
  end
  gone[#gone + 1] = id
end
-- How long ago the run before was renewed, if its worker died and nothing was done with the task since.
local function silence(hash)
  local h = call('HMGET', hash, 'last_update', 'crash_at', 'lost_at')
  local lost_at = h[3] and tonumber(h[3]) or 0
  if not h[2] or h[1] ~= h[2] or not (lost_at > 0 and lost_at < now_ms) then return end
  return '/' .. whole(math.max(0, math.floor((tonumber(now_us) - math.floor(lost_at * 1e6 + 0.5)) / 1000)))
end
-- The hash of a run that begins; its epoch.
local function begin(id, run, hash, h, extra)
  local state, epoch, attempts = h[3], h[5], h[6]
  local e = number(epoch) + 1
  local es = e > now_ms and whole(e) or epoch_now
  call('HSET', hash, 'state', running, 'run', run, 'worker', worker, 'epoch', es,
    'last_update', now, 'attempts', attempts and number(attempts) + 1 or '1',
    noted(h[9], line, true, index[state] and state or unknown))
  call('PERSIST', hash)
  if epoch then call('HDEL', hash, 'control', 'output', 'error') end
  -- Its time has come once: a clock that is set back later delays no other run of this start.
  if h[10] and (not extra or extra.due) then call('HDEL', hash, 'not_before') end
  if extra and extra.stale then call('HDEL', hash, 'saved', 'saved_at', 'saved_by') end
  if h[17] then
    call('HDEL', hash, 'paused')
    call('SREM', paused, id)
  end
  leave(id, state)
  if timed then left_timers[#left_timers + 1] = id end
  register(id, run)
  publish[#publish + 1] = id
  publish[#publish + 1] = event[1] .. run .. event[2] .. es .. event[3]
  return es
end
-- Into the timers, until its time; the answer.
local function delay(id, hash, state, due, why, history)
  -- The field shows the time: no history is started for it (see prelude.lua).
  local text = (index[state] and state or unknown) .. ' ' .. delayed .. ' delay ' .. escaped(worker, 64) .. ' '
  call('HSET', hash, 'state', delayed, 'last_update', now, noted(history, text .. why, true))
  call('PERSIST', hash)
  if index[state] and state ~= delayed then leave(id, state) end
  delays[#delays + 1], delays[#delays + 2] = due, id
  publish[#publish + 1] = id
  publish[#publish + 1] = delayed_event .. string.format('%.3f', (due - now_ms) / 1000) .. '}}'
  return 'DELAYED ' .. whole(due - now_ms)
end

-- What limits need is built for the first task that may have one: nearly no batch has such a task, and to make that many
-- functions for a batch of few tasks would cost as much as their commands.
local function admissions()
  --- include: slots, limits, kept_slots, hold, take_slots, wake, lead, ids_wait, rates, group_of, admission
  return {
    take_slots = take_slots, group_of = group_of, obstacle = obstacle, not_yet = not_yet, pass_on = pass_on,
    hold_back = hold_back, settle_in = settle_in, hold_slots = hold_slots, give_turns = give_turns,
  }
end
local limits = (in_use or #rules > 0) and admissions() or nil
local function pass_on(id, group, func)
  if limits then limits.pass_on(id, group, func) end
end
-- Into the paused set, until a start resumes it; the answer.
local function pause(id, hash, state, history)
  local text = (index[state] and state or unknown) .. ' ' .. delayed .. ' pause ' .. escaped(worker, 64) .. ' -'
  call('HSET', hash, 'state', delayed, 'last_update', now, noted(history, text, true))
  call('PERSIST', hash)
  pcall('ZADD', index[delayed], now, id)
  if timed then left_timers[#left_timers + 1] = id end
  if call('SADD', paused, id) == 1 then
    publish[#publish + 1] = id
    publish[#publish + 1] = paused_event
  end
  return 'PAUSED'
end

-- Nearly every task has a function, data, and nothing else: it never ran before.  What follows does for it what the loop
-- below does, with nothing that only others need.  Returns whether it is such a task, and nothing was done if not.
local said, leaving, event_head, event_tail = {}, nil, event[1], event[2] .. epoch_now .. event[3]
local function begin_plain(i, id, run, hash, size)
  if size > max_data or all_held_back or call('HLEN', hash) ~= 2 then return false end
  local h = call('HMGET', hash, 'function', 'data')
  local func, data = h[1], h[2]
  local place = func and data and not held_back[func] and known[func]
  if not place then return false end
  call('HSET', hash, 'state', running, 'run', run, 'worker', worker, 'epoch', epoch_now, 'last_update', now,
    'attempts', '1')
  call('PERSIST', hash)
  took[id] = true
  if timed then left_timers[#left_timers + 1] = id end
  if not leaving then
    leaving = unindexed[index[unknown]] or {}
    unindexed[index[unknown]] = leaving
  end
  leaving[#leaving + 1] = id
  local last = #registry
  registry[last + 1], registry[last + 2] = id, run
  renewed[last + 1], renewed[last + 2] = now_us, id
  last = #publish
  publish[last + 1], publish[last + 2] = id, event_head .. run .. event_tail
  bytes[#bytes + 1] = data
  local key = place * 2 ^ 32 + size -- the answers of tasks with data of one length are alike
  local word = said[key]
  if not word then
    word = 'OK ' .. epoch_now .. ' 0 0 ' .. place .. ' ' .. size
    said[key] = word
  end
  words[i] = word
  return true
end

for i = 1, n do
  local id, run, hash, held = ids[i], made[i], keys[i], live[i]
  if took[id] then
    -- This batch contains another copy of it.
    words[i] = 'DUPLICATE'
  elseif held ~= run and (full or not waiting[id]) then
    words[i] = 'MOVED'
  else
    local size = pcall('HSTRLEN', hash, 'data')
    if type(size) == 'table' then
      words[i] = held == run and 'GONE' or 'BADTYPE'
    elseif held ~= run and read > 0 and size <= max_data and read + size > max_data then
      full = true
      words[i] = 'MOVED'
    elseif not limits and not held and begin_plain(i, id, run, hash, size) then
      read = read + size
    else
      local over = size > max_data
      local h, count = read_hash(hash, over)
      local func, data, state, owner, epoch = h[1], h[2], h[3], h[4], h[5]
      local crashes = number(h[7])
      -- The name is too long or empty: it is claimed, and fails because it has no function.
      if func and (#func == 0 or #func > 512) then func = false end
      local group, fault, told = '', nil, nil
      if h[16] and not limits then limits = admissions() end
      if limits then group, fault, told = limits.group_of(h[16], func, not over and data or nil) end
      local extra = (#h > 2 or h[10] or fault) and few(h, group, fault) or nil
      local kind, name, most, due
      local part = (over and 0 or size) + (extra and #extra[7] or 0)
      if held == run and owner ~= run then
        words[i] = 'GONE'
      elseif held == run then
        read = read + part
        words[i] = won('ALREADY', whole(number(epoch)), crashes, size, over, func, data, extra, group)
      elseif read > 0 and extra and extra[7] ~= '' and read + part > max_data then
        full = true
        words[i] = 'MOVED'
      elseif count == 0 then
        words[i] = 'NOHASH'
      elseif h[8] and not held then
        words[i] = 'LOCAL'
      elseif held and owner == held then
        took[id] = true
        watched[#watched + 1] = id
        words[i] = 'DUPLICATE'
      elseif not held and state == running and plausible(owner) then
        -- The registry lost a run that its hash still names: its owner may be alive.
        took[id] = true
        register(id, owner)
        if limits then limits.take_slots(id, group, func) end
        words[i] = 'DUPLICATE'
      elseif held then
        -- The hash was deleted and recreated during a live run: wait until that run has ended.
        took[id] = true
        watched[#watched + 1] = id
        rotated[#rotated + 1] = id
        words[i] = 'ROTATED'
      elseif h[17] and (not index[state] or state == delayed) then
        -- (An end takes the field away: where a task has ended, a worker of an older release has left it.)
        took[id] = true
        pass_on(id, group, func)
        words[i] = pause(id, hash, state, h[9])
      elseif extra and extra.due and extra.due > now_ms then
        took[id] = true
        pass_on(id, group, func)
        words[i] = delay(id, hash, state, extra.due, 'not%20before%20' .. extra.text, h[9])
      elseif func and (not known[func] or all_held_back or held_back[func]) then
        pass_on(id, group, func)
        words[i] = 'UNKNOWN ' .. #func
        bytes[#bytes + 1] = func
      elseif crashes >= crashes_from and places <= 0 then
        took[id] = true
        rotated[#rotated + 1] = id
        words[i] = 'ROTATED'
      else
        took[id] = true
        if limits then
          if told then call('HSET', hash, 'group', group) end
          kind, name, most = limits.obstacle(id, group, func)
          due = not kind and limits.not_yet(id, func)
        end
        if kind then
          words[i] = limits.hold_back(i, id, hash, h, group, kind, name, most)
        elseif due then
          pass_on(id, group, func)
          words[i] = delay(id, hash, state, due, 'limit%20of%20starts', h[9])
        else
          if crashes >= crashes_from then places = places - 1 end
          local silent = h[7] and silence(hash) or nil
          local es = begin(id, run, hash, h, extra)
          if limits then limits.settle_in(id, group, func) end
          read = read + part
          words[i] = won('OK', es, crashes, size, over, func, data, extra, group, silent)
        end
      end
    end
  end
end

-- The registry, the leases, and the indexes ---------------------------------------------------------------

if #registry > 0 then
  -- A hash of up to 512 short values is one piece of memory that is searched from its begin: a tenth of all work of
  -- a claim of many.  A long value makes it a table, which it stays until it is empty.
  local many = #registry >= 64 -- of 32 runs
  if many then registry[#registry + 1], registry[#registry + 2] = '', long_value end
  call('HSET', runs, unpack(registry))
  if many then call('HDEL', runs, '') end
  call('ZADD', leases, unpack(renewed))
end
if limits then limits.hold_slots() end
for key, gone in pairs(unindexed) do pcall('ZREM', key, unpack(gone)) end
-- Pushed again while it waited for its time: it has started now.
if #left_timers > 0 then call('ZREM', timers, unpack(left_timers)) end
if #delays > 0 then
  call('ZADD', timers, unpack(delays))
  for at = 1, #delays, 2 do pcall('ZADD', index[delayed], now, delays[at + 1]) end
end
-- A monitor never checks a registered run without a lease, even if its owner is dead.
for _, id in ipairs(watched) do call('ZADD', leases, 'NX', now_us, id) end

-- The list, and the events --------------------------------------------------------------------------------

-- Entries taken without a gap leave in one LTRIM; others one by one; copies where the list is short.
-- Ids that were woken after the worker had read the tail are between them: then those that stay are put back.
local gone, far, last = 0, 0, 0
while gone < at and took[window[gone + 1]] do gone = gone + 1 end
for i = gone + 1, at do
  if took[window[i]] then far, last = far + 1, i end
end
local rebuilt = far > 2 and last - gone <= 2 * far
if rebuilt then
  local stay = {}
  for i = last, gone + 1, -1 do
    if not took[window[i]] then stay[#stay + 1] = window[i] end
  end
  call('LTRIM', source, 0, -(last + 1))
  if #stay > 0 then call('RPUSH', source, unpack(stay)) end
elseif gone > 0 then
  call('LTRIM', source, 0, -(gone + 1))
end
for i = gone + 1, at do
  local id = window[i]
  if took[id] then
    if not rebuilt then call('LREM', source, -1, id) end
  elseif look > 0 then
    look = #id > longest_id and 0 or look - 1
    bytes[#bytes + 1] = id:sub(1, longest_id + 1)
    words[#words + 1] = #bytes[#bytes]
  end
end
local left = ended and 0 or call('LLEN', source)
if left > 0 and left <= short_list then
  for id in pairs(took) do call('LREM', source, 0, id) end
end
for _, id in ipairs(rotated) do call('LPUSH', source, id) end
if limits then limits.give_turns() end
for i = 1, #publish, 2 do call('PUBLISH', channel .. publish[i], publish[i + 1]) end
return {table.concat(words, ' '), table.concat(bytes), named, fresh and 1 or 0}
