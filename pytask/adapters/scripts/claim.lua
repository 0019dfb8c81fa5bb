-- E1, E13, E14: take a batch of ids from the tail of a list and make each a run.
--
-- KEYS  1 runs (hash)  2 leases (zset)  3 source (list)  4-7 indexes of the resting states (zsets)
--       8.. the hash of each id
-- ARGV  1 running state  2 worker  3 data limit (bytes, of one id and of the batch)  4 "short list"
--       length  5 places for tasks that crashed before  6 channel prefix  7-9 the `running` event, around run and epoch
--       10-13 names of the resting states (any other word counts as the first)
--       14 crashes from which a task needs such a place
--       15 the server the caller knows of ('' not checked)  16 number of functions  17.. their names
--       then id, run for each hash
-- Refuses with OTHERSERVER, before any write, where another server answers.
-- Returns a flat array, for each id: verdict; after OK and ALREADY also epoch, crashes,
--       size of data if it is over the limit (else 0), function, data.
--
-- The data of a batch is one reply that a worker holds in memory: where the next id's would take it over
-- the limit, that id and those after it are MOVED and stay where they are.  The first always fits.
--
-- All reads come first, so that a wrong type is met before any write.  A script is not rolled back:
-- the hashes are written first and the ids leave the list last, so an id is never in neither place.
-- Only the server that the caller knows of: a new primary may not have all that the old one acknowledged.
if ARGV[15] ~= '' then
  local info = redis.pcall('INFO', 'replication')
  local server = type(info) == 'string' and string.match(info, 'master_replid:(%w+)')
  if server and server ~= ARGV[15] then return redis.error_reply('OTHERSERVER it is ' .. server) end
end

local MOST = 2 ^ 53 - 2
local function number(text)
  local n = tonumber(text or 0)
  -- What a client wrote there may be no number, or none that is exact.
  if not n or n ~= n or n < 0 or n > MOST then return 0 end
  return math.floor(n)
end

local RUNNING, worker, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local places = tonumber(ARGV[5])
local first = 16 + tonumber(ARGV[16])
local many = tonumber(ARGV[14])
local n = #KEYS - 7
local known = {}
for i = 17, first do known[ARGV[i]] = true end
local index = {}
for i = 1, 4 do index[ARGV[9 + i]] = KEYS[3 + i] end
local ids, runs = {}, {}
-- A registry entry is read by monitors: what a client wrote as `run` gets there only if it looks like one.
local function plausible(run) return run and #run > 0 and #run <= 128 and not run:find('[^!-~]') end
for i = 1, n do
  ids[i], runs[i] = ARGV[first + 2 * i - 1], ARGV[first + 2 * i]
end

local live = redis.call('HMGET', KEYS[1], unpack(ids))
redis.call('ZCARD', KEYS[2])
local window = redis.call('LRANGE', KEYS[3], -(2 * n + 16), -1)
local waiting = {}
for _, id in ipairs(window) do waiting[id] = true end
local t = redis.call('TIME')
local now_us = t[1] .. string.format('%06d', t[2])
local last_update = t[1] .. '.' .. string.format('%06d', t[2])
local now_ms = t[1] * 1000 + math.floor(t[2] / 1000)

local reply, took, rotated = {}, {}, {}
local registry, leases, watched, publish = {}, {}, {}, {}
local read, full = 0, false
local function add(...)
  for _, v in ipairs({...}) do reply[#reply + 1] = v end
end

for i = 1, n do
  local id, run, hash = ids[i], runs[i], KEYS[7 + i]
  local held = live[i]
  if took[id] then
    -- Another copy of it stood in this very batch.
    add('DUPLICATE')
  elseif held ~= run and (full or not waiting[id]) then
    add('MOVED')
  else
    local size = redis.pcall('HSTRLEN', hash, 'data')
    if type(size) == 'table' then
      add('BADTYPE')
    elseif held ~= run and read > 0 and size <= limit and read + size > limit then
      full = true
      add('MOVED')
    else
      local over = size > limit
      local h = redis.call('HMGET', hash, 'function', 'state', 'run', 'epoch', 'attempts', 'crashes',
        'local', over and '' or 'data')
      local func, state, owner, epoch = h[1], h[2], h[3], h[4]
      local part = over and 0 or size
      local crashes = number(h[6])
      -- No task has so long a name, or none: it is claimed, and fails for want of a function.
      if func and (#func == 0 or #func > 512) then func = false end
      if held == run then
        read = read + part
        add('ALREADY', string.format('%.0f', number(epoch)), crashes, over and size or 0, func or '')
        reply[#reply + 1] = h[8]
      elseif not h[1] and redis.call('EXISTS', hash) == 0 then
        add('NOHASH')
      elseif h[7] and not held then
        add('LOCAL')
      elseif held and owner == held then
        took[id] = true
        watched[#watched + 1] = id
        add('DUPLICATE')
      elseif not held and state == RUNNING and plausible(owner) then
        -- The registry forgot a run that its hash still names: its owner may live.
        registry[#registry + 1] = id
        registry[#registry + 1] = owner
        leases[#leases + 1] = now_us
        leases[#leases + 1] = id
        took[id] = true
        add('DUPLICATE')
      elseif held then
        -- The hash was deleted and made anew under a live run: wait until that run has ended.
        took[id] = true
        watched[#watched + 1] = id
        rotated[#rotated + 1] = id
        add('ROTATED')
      elseif func and not known[func] then
        add('UNKNOWN', func)
      elseif crashes >= many and places <= 0 then
        took[id] = true
        rotated[#rotated + 1] = id
        add('ROTATED')
      else
        if crashes >= many then places = places - 1 end
        local e = number(epoch)
        if e + 1 > now_ms then e = e + 1 else e = now_ms end
        local es = string.format('%.0f', e)
        redis.call('HSET', hash, 'state', RUNNING, 'run', run, 'worker', worker, 'epoch', es,
          'last_update', last_update, 'attempts', number(h[5]) + 1)
        redis.call('PERSIST', hash)
        if epoch then redis.call('HDEL', hash, 'control', 'output', 'error') end
        redis.pcall('ZREM', index[state] or KEYS[4], id)
        registry[#registry + 1] = id
        registry[#registry + 1] = run
        leases[#leases + 1] = now_us
        leases[#leases + 1] = id
        publish[#publish + 1] = ARGV[6] .. id
        publish[#publish + 1] = ARGV[7] .. run .. ARGV[8] .. es .. ARGV[9]
        took[id] = true
        read = read + part
        add('OK', es, crashes, over and size or 0, func or '')
        reply[#reply + 1] = h[8]
      end
    end
  end
end

if #registry > 0 then
  redis.call('HSET', KEYS[1], unpack(registry))
  redis.call('ZADD', KEYS[2], unpack(leases))
end

-- A registered run without a lease would never be looked at by a monitor, should its owner be dead.
for _, id in ipairs(watched) do redis.call('ZADD', KEYS[2], 'NX', now_us, id) end

-- Entries taken without a gap leave in one LTRIM; others one by one; copies where the list is short.
local gone = 0
for i = #window, 1, -1 do
  if not took[window[i]] then break end
  gone = gone + 1
end
if gone > 0 then redis.call('LTRIM', KEYS[3], 0, -(gone + 1)) end
for i = #window - gone, 1, -1 do
  if took[window[i]] then redis.call('LREM', KEYS[3], -1, window[i]) end
end
local left = redis.call('LLEN', KEYS[3])
if left > 0 and left <= tonumber(ARGV[4]) then
  for id in pairs(took) do redis.call('LREM', KEYS[3], 0, id) end
end
for _, id in ipairs(rotated) do redis.call('LPUSH', KEYS[3], id) end
for i = 1, #publish, 2 do redis.call('PUBLISH', publish[i], publish[i + 1]) end
return reply
