-- Not a verb: sections that are put into a script where its line `--- include: ...` names them, in that order.
-- They use the names of the script's declaration (`space`, `indexes`, `server`, `kept`) and the constants.

--- time
local t = call('TIME')
local micros = string.format('%06d', t[2])
local now = t[1] .. '.' .. micros -- as `last_update` has it

--- now_us
local now_us = t[1] .. micros -- as leases have it

--- now_ms
local now_ms = t[1] * 1000 + math.floor(t[2] / 1000) -- as epochs have it

--- whole
local function whole(n) return string.format('%.0f', n) end

--- number
-- What a client wrote may be no number, or none that is exact.
local function number(text)
  if not text then return 0 end
  local n = tonumber(text)
  if not n or n ~= n or n < 0 or n > 2 ^ 53 - 2 then return 0 end
  return math.floor(n)
end

--- plausible
-- A registry entry is read by monitors: what a client wrote as `run` gets there only if it looks like one.
local function plausible(run) return run and #run > 0 and #run <= 128 and not run:find('[^!-~]') end

--- fence
-- Why a caller may not act for a run; nil if it may.  `held` is the entry of the registry, `named` the run in the hash.
-- Where the registry has lost its entry the hash decides: nobody has claimed the id since.
local function fence(run, held, named)
  if held and held ~= run then return 'FENCED' end
  if named ~= run then return 'GONE' end
end

--- saved_number
-- The number of the last save of this run that is in the hash, -1 for none.
local function saved_number(by, run)
  if not by or by:sub(1, #run + 1) ~= run .. ' ' then return -1 end
  return tonumber(by:sub(#run + 2)) or -1
end

--- ids
-- The id of each hash.
local ids = hashes
if space > 0 then
  ids = {}
  for i = 1, #hashes do ids[i] = hashes[i]:sub(space + 1) end
end

--- index
-- The index of each resting state.
local index = {}
for i = 1, #resting do index[resting[i]] = indexes[i] end

--- utf8
local function is_utf8(text)
  if not text:find('[\128-\255]') then return true end
  local at = 1
  while at <= #text do
    local byte, rest = text:byte(at), '[\128-\191][\128-\191]'
    local form = byte < 128 and '' or byte >= 0xC2 and byte < 0xE0 and '[\128-\191]'
      or byte == 0xE0 and '[\160-\191][\128-\191]' or byte == 0xED and '[\128-\159][\128-\191]'
      or byte > 0xE0 and byte < 0xF0 and rest or byte == 0xF0 and '[\144-\191]' .. rest
      or byte > 0xF0 and byte < 0xF4 and '[\128-\191]' .. rest or byte == 0xF4 and '[\128-\143]' .. rest
    local _, last = text:find('^' .. (form or '$'), at + 1)
    if not form or not last then return false end
    at = last + 1
  end
  return true
end

--- plain
-- Whether an id in the queue can be a task, as `read_id` judges it (see pytask/domain/messages.py).
local function is_plain(id)
  if #id == 0 or #id > longest_id or id == 'new-task' then return false end
  if id:byte() == 112 and id:sub(1, 7) == 'pytask:' then return false end
  if not id:find('[^ -~]') then return true end
  -- The control characters U+0080 to U+009F, and the line separators U+2028 and U+2029, have more than one byte.
  return is_utf8(id) and not (id:find('[%z\1-\31\127]') or id:find('\194[\128-\159]') or id:find('\226\128[\168\169]'))
end

--- places
-- The place of each word in a list.
local function places_in(words)
  local places = {}
  for i, word in ipairs(words) do places[word] = i end
  return places
end

--- leave_places
-- Out of each place where a task may wait: the queue, the parking list of its function, the timers, the paused set, the
-- waiting lists of its group and its function.  A task that waits is in one of them.  Before its hash is deleted.
-- Returns how many entries of lists were looked at.
local function leave_places(id, parking, hash)
  call('ZREM', timers, id)
  call('SREM', paused, id)
  leave_lines(id, hash, call('LREM', queue, 0, id) > 0)
  local parked_there = pcall('LLEN', parking)
  if type(parked_there) ~= 'number' then return 0 end
  call('LREM', parking, 0, id)
  return parked_there
end

--- ask_each
-- Ask something of each task: `to_owner(id, hash, h)` of one that runs, and `to_waiting(id, hash, parking, from, state,
-- h, held)` of one that waits.  They return the answer; the second one also how many entries of a parking list were
-- looked at.  `h` has state, run, start_at, control, history and paused; `from` is the state it was in, `state` the
-- one that its hash has; `held` is the run of a previous hash of this id.
--
-- Where a hash stands in place of a parking list, the caller does not know the function of the task: if it waits, the
-- answer is NAME, and nothing is done.
--
-- A waiting id may be anywhere in its list, so each costs a scan of all of it: 20 ms for a million entries.
-- Hundreds in one call would hold Redis for longer than a renewal waits, and with it every worker.
local WORK = 250000 -- list entries; the first id is always done
local function ask_each(to_owner, to_waiting)
  local from_here, queued, walked, reply = places_in(allowed), call('LLEN', queue), 0, {}
  local live = call('HMGET', runs, unpack(ids, 1, #hashes))
  for i = 1, #hashes do
    if walked > WORK then break end
    local id, hash, held, looked = ids[i], hashes[i], live[i], 0
    local h = pcall('HMGET', hash, 'state', 'run', 'start_at', 'control', 'history', 'paused')
    -- Not after a step of the server's clock, which may put the start into the future.
    local since = not h.err and h[3] and tonumber(now) - (tonumber(h[3]) or -1)
    if h.err then
      reply[i] = 'BADTYPE'
    elseif not h[1] and call('EXISTS', hash) == 0 then
      reply[i] = 'NOHASH'
    elseif since and since >= 0 and since < ages[i] then
      reply[i] = 'STATE'
    elseif h[2] and (held or h[1] == running) then
      reply[i] = to_owner(id, hash, h)
    else
      local state = index[h[1]] and h[1] or unknown
      local from = state
      -- It waits, even if its hash still describes the run before it was pushed again.
      if not from_here[from] then
        walked = walked + queued
        if call('LPOS', queue, id) then from = unknown end
      end
      reply[i] = 'STATE'
      if from_here[from] and parkings[i] == hash then
        reply[i] = 'NAME'
      elseif from_here[from] then
        reply[i], looked = to_waiting(id, hash, parkings[i], from, state, h, held)
        walked = walked + looked + queued
      end
    end
  end
  return reply
end

--- pauses
-- The set `paused` has the ids of all paused tasks, whether they wait or run; the field `paused` of each has the time.
-- So one look tells whether any is paused at all: where none is, no task is asked about.
local paused_count = pcall('SCARD', paused)
local pausable = type(paused_count) == 'number'
local any_paused = pausable and paused_count > 0
-- An end, a failure, a stop and a start take the pause away.
local function unpause(id, hash)
  if any_paused and call('SREM', paused, id) == 1 then call('HDEL', hash, 'paused') end
end

--- forget_restarts
-- What a start takes away: the time it waited for, and the count of its restarts.
local function forget_restarts(hash)
  call('HDEL', hash, 'not_before', 'restarts', 'failed_at', 'restart_times')
end

--- trial
-- Put the data of a run on trial: `data_ok` has the data that lived before.  That is `lived`, where it is `known`.  If
-- the caller believes it to be `on_trial` itself, the trial of the run before decides: while that is under way, what it
-- would go back to stays; it may have ended since the caller looked, and `lived` is then the data that passed.
-- Returns 1; 0 where the data is the same.
local function begin_trial(before, mark, trial, data_ok, data)
  local goes_on = trial and data_ok and (trial == before or trial:sub(1, #before + 1) == before .. '#')
  local ok = (on_trial or not known) and goes_on and data_ok or known and lived
  if not ok or ok == data then
    if trial then call('HDEL', hash, 'trial', 'data_ok') end
    return 0
  end
  call('HSET', hash, 'trial', mark, 'data_ok', ok)
  return 1
end

--- answer
-- The beginning of the answer to a reload, as JSON: it names the data in force, so that a request which comes late is
-- known (see request.lua).  fakeredis, which is for tests, has no SHA-1.
local function answer(epoch, data)
  local digest = redis.sha1hex and redis.sha1hex(data) or ''
  return '{"epoch":' .. epoch .. ',"at":' .. now .. ',"sha1":"' .. digest .. '",'
end

--- roll_back
-- Exchange data that failed on trial for the data before: that of the trial of this run, or the one that the caller
-- knows where the trial is not stored yet.  Other data that a client wrote meanwhile stays, and the next run works with it:
-- then nothing is rolled back, which it returns.
local function roll_back(hash, run, tried)
  local rejected, known, given = tried:match('^(%x+) (%d) (.*)$')
  local h = call('HMGET', hash, 'trial', 'data_ok', 'data')
  local mine = h[1] and (h[1] == run or h[1]:sub(1, #run + 1) == run .. '#')
  local good = mine and h[2] or not mine and known == '1' and given
  -- Only fakeredis, which is for tests, cannot tell.
  local failed = not redis.sha1hex or redis.sha1hex(h[3] or '') == rejected
  if good and failed then
    if h[3] then call('HSET', hash, 'data_bad', h[3]) else call('HDEL', hash, 'data_bad') end
    if good == '' then call('HDEL', hash, 'data') else call('HSET', hash, 'data', good) end
  end
  call('HDEL', hash, 'trial', 'data_ok', 'settling')
  return good and failed
end

--- overdue
-- Where a schedule gets another time while an occurrence is due that nobody has started: the line of that one.
local function skip_overdue(stored, reason)
  local h = call('HMGET', schedule, 'behind', 'next_ms')
  local at = number(h[1] and h[2] or stored)
  if at < 10 ^ 11 or at > now_ms then return end
  pcall('LPUSH', occurrences, '{"at":' .. whole(at) .. ',"reason":"' .. reason .. '"}')
  pcall('LTRIM', occurrences, 0, most - 1)
end

--- server
-- Only the server that the caller knows of: a new primary may not have all that the old one acknowledged.
if server ~= '' then
  local info = pcall('INFO', 'replication')
  local answers = type(info) == 'string' and info:match('master_replid:(%w+)')
  if answers and answers ~= server then return redis.error_reply('OTHERSERVER it is ' .. answers) end
end

--- known_marker
-- Only the data that the caller knows of: it may have been lost since, and an earlier call with it.
if known_marker ~= '' then
  local found = pcall('HGET', incarnation, 'id')
  -- A key of another type has no marker to compare.
  if not (type(found) == 'table' and found.err) and found ~= known_marker then return 'MOVED' end
end

--- escaped
-- What others wrote, as one word of the history: see pytask/domain/history.py, which reads it.
local function escaped(text, most)
  if not text or text == '' then return '-' end
  return (text:sub(1, most):gsub('[^!-$&-~]', function(c) return string.format('%%%02X', c:byte()) end))
end

--- history
-- The field and its new value for an HSET that moves a task; nothing where no history is kept.
-- A `plain` move begins none: the delay, the claim and the end of a task to which nothing else happened stand in its other
-- fields, and a field of this length would turn each small hash into a large one.  `from` is put in front of the text.
local function noted(old, text, plain, from)
  if kept == 0 or plain and not old then return end
  if not old or #old > 8192 then old = '' end
  local all = old .. string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000)) .. ' ' .. (from or '') .. text .. '\n'
  local _, lines = all:gsub('\n', '')
  while lines > kept or (lines > 1 and #all > 4096) do
    all = all:sub(all:find('\n', 1, true) + 1)
    lines = lines - 1
  end
  return 'history', all
end
