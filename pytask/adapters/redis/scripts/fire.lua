-- Start the due occurrences of a schedule, and store when it is due next.
--
-- Returns OK, and behind it how many occurrences it has started (started=1) and skipped (overlap=2) without those that
--       the caller skipped; MOVED (its time is another one by now: some worker was quicker, or it was changed); STATE (it was
--       paused, resumed or emptied since it was read); NOHASH (it was deleted: so is its time) or BADTYPE.
--
-- The comparison with `score` is all that keeps two workers from firing twice; a repeated call is MOVED.
-- What the task runs with is read here, not by the worker: a change by HSET counts from the next occurrence.
-- A key of another type is met before anything is written.
--- include: names, time, whole, number, index, forget_restarts, history
local REACH = 1024
local never = 2 ^ 53 - 1
local stored = call('ZSCORE', schedules, name)
if not stored or tonumber(stored) ~= score then return 'MOVED' end
local s = pcall('HMGET', schedule, 'function', 'data', 'paused', 'behind', 'fires', 'last_id')
local ring = pcall('LLEN', occurrences)
if s.err or type(ring) == 'table' then
  call('ZADD', schedules, whole(never), name)
  return 'BADTYPE'
end
if call('EXISTS', schedule) == 0 then
  call('ZREM', schedules, name)
  return 'NOHASH'
end
local func, data, mark, behind, fires = s[1], s[2], s[3], number(s[4]), number(s[5])
if behind == 0 then behind = nil end
local pausing = mark and mark ~= '' and mark ~= '0' and mark ~= fault
if not func or func == '' or (pausing and true or false) ~= paused then return 'STATE' end
call('LLEN', queue)
call('ZCARD', timers)

local lines, last_at, last_id, outcomes = {}, nil, nil, {started = 0}
local function skipped(at, reason)
  lines[#lines + 1] = '{"at":' .. whole(at) .. ',"reason":"' .. reason .. '"}'
  outcomes[reason] = (outcomes[reason] or 0) + 1
end

-- Whether an earlier run has not ended: 'runs', 'waits', or nil; 'taken' where the key is not ours.
local function occupied(id, hash)
  local h = pcall('HMGET', hash, 'state', 'run', 'function', 'scheduled', 'local', 'control', 'history')
  if h.err then return 'taken', h end
  if call('HGET', runs, id) or h[1] == running and h[2] then return 'runs', h end
  local exists = call('EXISTS', hash) == 1
  if exists and (h[5] or not h[4] and id ~= s[6] and h[3] ~= func) then return 'taken', h end
  if exists and (not index[h[1]] or h[1] == waiting) then return 'waits', h end
  local queued = call('LPOS', queue, id, 'MAXLEN', REACH) or call('LPOS', queue, id, 'RANK', -1, 'MAXLEN', REACH)
  if queued or call('ZSCORE', timers, id) then return 'waits', h end
  return nil, h
end

-- The fields of the new start; those of the one before go.
local function prepare(id, hash, at, missed, not_before, ...)
  -- Each worker learns of the start in its stream: what it receives after this is newer than `start_at`.
  call('PUBLISH', channel .. id .. '-control', 'started')
  local scheduled = '{"schedule":' .. quoted .. ',"scheduled_for":' .. string.format('%.3f', at / 1000)
    .. ',"missed":' .. whole(missed) .. '}'
  call('HDEL', hash, 'control', 'data')
  forget_restarts(hash)
  call('HSET', hash, 'function', func, 'scheduled', scheduled, 'state', waiting, 'last_update', now, 'crashes', 0,
    'start_at', now, ...)
  if data then call('HSET', hash, 'data', data) end
  if not_before ~= '' then call('HSET', hash, 'not_before', not_before) end
  call('PERSIST', hash)
end

local function started(id, at, id_text)
  lines[#lines + 1] = '{"at":' .. whole(at) .. ',"id":' .. id_text .. '}'
  fires, last_at, last_id = fires + 1, at, id
  outcomes.started = outcomes.started + 1
end

local function start(id, hash, h, at, missed, not_before, id_text)
  local from = index[h[1]] and h[1] or unknown
  -- (A worker of an older release may have left it as the run before ended.)
  if from ~= waiting then call('HDEL', hash, 'paused') end
  prepare(id, hash, at, missed, not_before, noted(h[7], from .. line))
  pcall('ZREM', index[from], id)
  pcall('ZADD', index[waiting], now, id)
  call('LPUSH', queue, id)
  call('PUBLISH', channel .. id, event)
  started(id, at, id_text)
end

for i = 1, #skips do lines[#lines + 1] = skips[i] end
if behind and paused then
  skipped(behind, 'paused')
  behind = nil
end

if overlap == 'allow' then
  if behind then skipped(behind, 'overlap') end  -- it was to wait before the schedule was changed
  behind = nil
  for i, one in ipairs(starts) do
    local state, h = occupied(one.id, hashes[i])
    -- Its id says the time: where the hash exists, this very occurrence was started before.
    if state == 'taken' then
      skipped(one.at, state)
    elseif call('EXISTS', hashes[i]) == 0 then
      start(one.id, hashes[i], h, one.at, one.missed, one.not_before, one.quoted)
    end
  end
elseif #starts > 0 or behind then
  local id, hash, due = name, hashes[1], {}
  if behind then due[1] = {at = behind, missed = 0, not_before = ''} end
  for _, one in ipairs(starts) do due[#due + 1] = one end
  behind = nil
  local state, h = occupied(id, hash)
  if state == 'taken' then
    for _, one in ipairs(due) do skipped(one.at, state) end
  elseif overlap == 'skip' then
    for _, one in ipairs(due) do
      if state then
        skipped(one.at, 'overlap')
      else
        start(id, hash, h, one.at, one.missed, one.not_before, quoted)
        state = 'waits'
      end
    end
  elseif overlap == 'queue' then
    if not state then
      local one = table.remove(due, 1)
      start(id, hash, h, one.at, one.missed, one.not_before, quoted)
    end
    local kept = table.remove(due, 1)
    if kept then behind = kept.at end
    for _, one in ipairs(due) do skipped(one.at, 'overlap') end
  else
    local one = table.remove(due)
    for _, older in ipairs(due) do skipped(older.at, 'overlap') end
    if not state then
      start(id, hash, h, one.at, one.missed, one.not_before, quoted)
    elseif state == 'waits' then
      -- The one that waits becomes this one, where it is; out of the timers it starts at once.
      prepare(id, hash, one.at, one.missed, '', noted(h[7], waiting .. line))
      if call('ZREM', timers, id) == 1 then call('LPUSH', queue, id) end
      started(id, one.at, quoted)
    else
      behind = one.at
      if h[2] and h[6] ~= stop then
        call('HSET', hash, 'control', stop, noted(h[7], asked_line))
        call('PUBLISH', channel .. id .. '-control', stop)
      end
    end
  end
end

if #lines > 0 then
  call('LPUSH', occurrences, unpack(lines))
  -- Of 100 starts and a row of skipped ones before them none is dropped.
  call('LTRIM', occurrences, 0, math.max(most, #lines) - 1)
end
if last_at then call('HSET', schedule, 'last_ms', whole(last_at), 'last_id', last_id, 'fires', whole(fires)) end
if mark == fault then call('HDEL', schedule, 'paused', 'error') end
if behind then
  call('HSET', schedule, 'behind', whole(behind), 'next_ms', whole(next))
  next = math.min(next, recheck)
elseif s[4] then
  call('HDEL', schedule, 'behind', 'next_ms')
end
call('ZADD', schedules, whole(next), name)
local answer = 'OK'
for outcome, count in pairs(outcomes) do answer = answer .. ' ' .. outcome .. '=' .. whole(count) end
return answer
