-- E1, E13, E14: take a batch of ids from the tail of a list and make each a run.
--
-- KEYS  1 runs (hash)  2 leases (zset)  3 source (list)  4-7 indexes of the resting states (zsets)
--       8.. the hash of each id
-- ARGV  1 running state  2 worker  3 data limit (bytes, of one id and of the batch)  4 "short list"
--       length  5 places for tasks that crashed before  6 channel prefix  7-9 the `running` event, around run and epoch
--       10-13 names of the resting states (any other word counts as the first)
--       14 crashes from which a task needs such a place
--       15 the server the caller knows of ('' not checked)  16 bytes of the namespace, in front of each hash's id
--       17 how many ids behind the batch to tell  18 bytes of the longest id that can be a task
--       19 number of functions  20.. their names
--       then the run for each hash; then the end of the line for the history, and how many lines are kept
--       (see history.lua)
-- Refuses with OTHERSERVER, before any write, where another server answers.
-- Returns two strings: words, and bytes of which the words tell the lengths, in order.  The words, for each
--       id: verdict; after UNKNOWN the length of the function; after OK and ALREADY: epoch, crashes, size of
--       data if it is over the limit (else 0), the function (its place in ARGV from 1; 0 none; a
--       name that is not there by its length, negative), length of data (-1 none, or over the limit).
--       Then the length of each id behind the batch, the next one first, as `peek` tells them.
--
-- The data of a batch is one reply that a worker holds in memory: where the next id's would take it over
-- the limit, that id and those after it are MOVED and stay where they are.  The first always fits.
--
-- All reads come first, so that a wrong type is met before any write.  A script is not rolled back:
-- the hashes are written first and the ids leave the list last, so an id is never in neither place.
-- Only the server that the caller knows of: a new primary may not have all that the old one acknowledged.
--- history.lua
local call, pcall = redis.call, redis.pcall
if ARGV[15] ~= '' then
  local info = pcall('INFO', 'replication')
  local server = type(info) == 'string' and string.match(info, 'master_replid:(%w+)')
  if server and server ~= ARGV[15] then return redis.error_reply('OTHERSERVER it is ' .. server) end
end

local MOST = 2 ^ 53 - 2
local function number(text)
  if not text then return 0 end
  local n = tonumber(text)
  -- What a client wrote there may be no number, or none that is exact.
  if not n or n ~= n or n < 0 or n > MOST then return 0 end
  return math.floor(n)
end
local function whole(n) return string.format('%.0f', n) end

local RUNNING, worker, limit, places = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])
local many, from = tonumber(ARGV[14]), tonumber(ARGV[16]) + 1
local look, longest = tonumber(ARGV[17]), tonumber(ARGV[18])
local first = 19 + tonumber(ARGV[19])
local n = #KEYS - 7
local known = {}
for i = 20, first do known[ARGV[i]] = i - 19 end
local index = {}
for i = 1, 4 do index[ARGV[9 + i]] = KEYS[3 + i] end
local ids = {}
for i = 1, n do ids[i] = KEYS[7 + i]:sub(from) end
-- A registry entry is read by monitors: what a client wrote as `run` gets there only if it looks like one.
local function plausible(run) return run and #run > 0 and #run <= 128 and not run:find('[^!-~]') end

local live = call('HMGET', KEYS[1], unpack(ids))
call('ZCARD', KEYS[2])
-- The tail, the next id first.  Those of the batch were seen to be short; of those behind them a producer
-- may have made any number any length: few at a time, and nothing behind one that cannot be a task.
local window, waiting, reach = {}, {}, n + math.max(look, n + 16)
local at, step, ended = 0, n, false
while at < reach and not ended do
  local part = call('LRANGE', KEYS[3], -at - step, -at - 1)
  local long = false
  for i = #part, 1, -1 do
    local id = part[i]
    at = at + 1
    window[at], waiting[id] = id, true
    long = long or #id > longest
  end
  if long then break end
  ended = #part < step
  step = math.min(32, reach - at)
end
local t = call('TIME')
local now_us = t[1] .. string.format('%06d', t[2])
local last_update = t[1] .. '.' .. string.format('%06d', t[2])
local now_ms = t[1] * 1000 + math.floor(t[2] / 1000)
local epoch_now = whole(now_ms)

local words, bytes, took, rotated = {}, {}, {}, {}
local registry, leases, watched, publish, unindexed = {}, {}, {}, {}, {}
local read, full = 0, false
-- The answer for a run that is the caller's.
local function answer(verdict, epoch, crashes, size, over, func, data)
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
  words[#words + 1] = verdict .. epoch .. (crashes == 0 and ' 0 ' or ' ' .. whole(crashes) .. ' ')
    .. (over and size or 0) .. ' ' .. name .. ' ' .. length
end

for i = 1, n do
  local id = ids[i]
  local run, hash, held = ARGV[first + i], KEYS[7 + i], live[i]
  if took[id] then
    -- Another copy of it stood in this very batch.
    words[#words + 1] = 'DUPLICATE'
  elseif held ~= run and (full or not waiting[id]) then
    words[#words + 1] = 'MOVED'
  else
    local size = pcall('HSTRLEN', hash, 'data')
    if type(size) == 'table' then
      words[#words + 1] = 'BADTYPE'
    elseif held ~= run and read > 0 and size <= limit and read + size > limit then
      full = true
      words[#words + 1] = 'MOVED'
    else
      local over = size > limit
      local h = call('HMGET', hash, 'function', 'state', 'run', 'epoch', 'attempts', 'crashes', 'local',
        over and '' or 'data', KEPT > 0 and 'history' or '')
      local func, state, owner, epoch = h[1], h[2], h[3], h[4]
      local part = over and 0 or size
      local crashes = number(h[6])
      -- No task has so long a name, or none: it is claimed, and fails for want of a function.
      if func and (#func == 0 or #func > 512) then func = false end
      if held == run then
        read = read + part
        answer('ALREADY ', whole(number(epoch)), crashes, size, over, func, h[8])
      elseif not h[1] and call('EXISTS', hash) == 0 then
        words[#words + 1] = 'NOHASH'
      elseif h[7] and not held then
        words[#words + 1] = 'LOCAL'
      elseif held and owner == held then
        took[id] = true
        watched[#watched + 1] = id
        words[#words + 1] = 'DUPLICATE'
      elseif not held and state == RUNNING and plausible(owner) then
        -- The registry forgot a run that its hash still names: its owner may live.
        registry[#registry + 1] = id
        registry[#registry + 1] = owner
        leases[#leases + 1] = now_us
        leases[#leases + 1] = id
        took[id] = true
        words[#words + 1] = 'DUPLICATE'
      elseif held then
        -- The hash was deleted and made anew under a live run: wait until that run has ended.
        took[id] = true
        watched[#watched + 1] = id
        rotated[#rotated + 1] = id
        words[#words + 1] = 'ROTATED'
      elseif func and not known[func] then
        words[#words + 1] = 'UNKNOWN ' .. #func
        bytes[#bytes + 1] = func
      elseif crashes >= many and places <= 0 then
        took[id] = true
        rotated[#rotated + 1] = id
        words[#words + 1] = 'ROTATED'
      else
        if crashes >= many then places = places - 1 end
        local e = number(epoch)
        local es = e + 1 > now_ms and whole(e + 1) or epoch_now
        call('HSET', hash, 'state', RUNNING, 'run', run, 'worker', worker, 'epoch', es,
          'last_update', last_update, 'attempts', h[5] and number(h[5]) + 1 or '1',
          noted(h[9], t, (index[state] and state or ARGV[10]) .. ARGV[#ARGV - 1]))
        call('PERSIST', hash)
        if epoch then call('HDEL', hash, 'control', 'output', 'error') end
        local left = index[state] or KEYS[4]
        local gone = unindexed[left]
        if not gone then
          gone = {}
          unindexed[left] = gone
        end
        gone[#gone + 1] = id
        registry[#registry + 1] = id
        registry[#registry + 1] = run
        leases[#leases + 1] = now_us
        leases[#leases + 1] = id
        publish[#publish + 1] = ARGV[6] .. id
        publish[#publish + 1] = ARGV[7] .. run .. ARGV[8] .. es .. ARGV[9]
        took[id] = true
        read = read + part
        answer('OK ', es, crashes, size, over, func, h[8])
      end
    end
  end
end

if #registry > 0 then
  call('HSET', KEYS[1], unpack(registry))
  call('ZADD', KEYS[2], unpack(leases))
end
for key, gone in pairs(unindexed) do pcall('ZREM', key, unpack(gone)) end

-- A registered run without a lease would never be looked at by a monitor, should its owner be dead.
for _, id in ipairs(watched) do call('ZADD', KEYS[2], 'NX', now_us, id) end

-- Entries taken without a gap leave in one LTRIM; others one by one; copies where the list is short.
local gone = 0
while gone < at and took[window[gone + 1]] do gone = gone + 1 end
if gone > 0 then call('LTRIM', KEYS[3], 0, -(gone + 1)) end
for i = gone + 1, at do
  local id = window[i]
  if took[id] then
    call('LREM', KEYS[3], -1, id)
  elseif look > 0 then
    look = #id > longest and 0 or look - 1
    bytes[#bytes + 1] = id:sub(1, longest + 1)
    words[#words + 1] = #bytes[#bytes]
  end
end
local left = ended and 0 or call('LLEN', KEYS[3])
if left > 0 and left <= tonumber(ARGV[4]) then
  for id in pairs(took) do call('LREM', KEYS[3], 0, id) end
end
for _, id in ipairs(rotated) do call('LPUSH', KEYS[3], id) end
for i = 1, #publish, 2 do call('PUBLISH', publish[i], publish[i + 1]) end
return {table.concat(words, ' '), table.concat(bytes)}
