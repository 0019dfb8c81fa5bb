-- Renew a chunk of runs (may be empty), and keep the data marker alive.
--
-- Returns a flat array: the marker's id ('' for none), this server's replication id ('' unknown),
--       microseconds since a change of server that may have lost writes (-1 none), and since the last
--       change of any kind (-1 none); then the answers
--       other than OK: position (from 1), then FENCED or GONE; or the negative position, then the request in
--       `control`.
--
-- The marker: `id`, lost with the data; `server`, as last seen; `safe`, whether acknowledged writes
-- outlive it (replicas must acknowledge, or it is alone and has an AOF); `since`, when it last changed
-- unsafely, and `changed`, when at all, by the clock of Redis.
--
-- Begins with a write that needs no memory: a full Redis lets a script that already wrote finish, and
-- the fleet must not stop because Redis is full.  Writes to a hash only while it names this run, since a
-- late heartbeat would otherwise recreate a deleted task with two fields.
--
-- `last_update` is written where the caller asks for it (`stamps`), which is at every third renewal: that write is a
-- third of the cost of a renewal, and only people read the field.
--
-- What a task has saved since the last renewal is written with it.  A call without a reply may be executed after
-- the one that repeats it: `saved_by` tells which save of a run is the newest.
--- include: names, time, now_us, whole, ids, saved_number, slots, kept_slots, hold, take_slots
call('ZREM', leases, '')

-- The server, and the marker of the data ------------------------------------------------------------------

local info, server, safe = pcall('INFO', 'replication'), '', '0'
if type(info) == 'string' then
  server = info:match('master_replid:(%w+)') or ''
  -- This line exists only if min-replicas is set.
  local good = info:match('min_slaves_good_slaves:(%d+)')
  if good then
    if tonumber(good) > 0 then safe = '1' end
  elseif alone and info:find('connected_slaves:0', 1, true) then
    local kept = pcall('INFO', 'persistence')
    if type(kept) == 'string' and kept:find('aof_enabled:1', 1, true) then safe = '1' end
  end
end
local m = pcall('HMGET', incarnation, 'id', 'server', 'safe', 'since', 'changed')
local known, since, moved = '', '0', '0'
if not m.err then
  known, since, moved = m[1] or marker, m[1] and m[4] or '0', m[1] and m[5] or '0'
  if not m[1] then
    call('HSET', incarnation, 'id', known, 'server', server, 'safe', safe, 'since', since, 'changed', '0')
  elseif server ~= '' and m[2] ~= server then
    -- A safe change does not end what followed an unsafe one: a worker that starts now must still wait.
    if m[2] ~= '' and m[3] ~= '1' then since = now_us end
    if m[2] ~= '' then moved = now_us end
    call('HSET', incarnation, 'server', server, 'safe', safe, 'since', since, 'changed', moved)
  elseif server ~= '' and m[3] ~= safe then
    call('HSET', incarnation, 'safe', safe)
  end
  -- A time ahead: the clock was set back, and each worker that starts would wait until it has caught up.
  local function ahead(at) return (tonumber(at) or 0) > tonumber(now_us) end
  if ahead(since) or ahead(moved) then
    since, moved = ahead(since) and now_us or since, ahead(moved) and now_us or moved
    call('HSET', incarnation, 'since', since, 'changed', moved)
  end
end
local function age(at)
  local then_us = tonumber(at) or 0
  return then_us > 0 and math.max(0, tonumber(now_us) - then_us) or -1
end
local reply = {known, server, age(since), age(moved)}

-- The runs ------------------------------------------------------------------------------------------------

local n = #hashes
if n == 0 then return reply end
local live, renewed, kept = call('HMGET', runs, unpack(ids)), {}, 0
-- The runs of the caller.  Nearly always the registry has exactly these: one comparison of all of them costs a tenth of
-- the whole renewal less than making a string of each.  (No run has a blank, so none can look like two.)
local mine, all = live, true
for i = 1, n do all = all and live[i] end
if not all or table.concat(live, ' ') ~= rests:gsub('%S+', session:gsub('%%', '%%%%') .. '%0') then
  mine = {}
  for rest in rests:gmatch('%S+') do
    mine[#mine + 1] = rest:byte() == 61 and rest:sub(2) or session .. rest
  end
end
local saved = #saves > 0 and {} or nil
for i = 1, #saves do saved[saves[i].at] = saves[i] end
for i = 1, n do
  local run, hash, held, save = mine[i], hashes[i], live[i], saved and saved[i]
  local h = save and pcall('HMGET', hash, 'run', 'control', 'saved_by') or pcall('HMGET', hash, 'run', 'control')
  if held and held ~= run then
    reply[#reply + 1], reply[#reply + 2] = i, 'FENCED'
  elseif h.err or h[1] ~= run then
    reply[#reply + 1], reply[#reply + 2] = i, 'GONE'
  else
    -- No registry entry, but the hash names this run: nobody claimed it since, so restore the entry.
    if not held then
      call('HSET', runs, ids[i], run)
      local its = call('HMGET', hash, 'group', 'function')
      take_slots(ids[i], its[1], its[2])
    end
    if save and saved_number(h[3], run) < save.nth then
      call('HSET', hash, 'last_update', now, 'state', running,
        'saved', save.value, 'saved_at', now, 'saved_by', run .. ' ' .. whole(save.nth))
    elseif stamps or not held then
      call('HSET', hash, 'last_update', now, 'state', running)
    end
    renewed[kept + 1], renewed[kept + 2] = now_us, ids[i]
    kept = kept + 2
    -- A client may have written any value there; only short words are returned.
    if h[2] and #h[2] <= 16 then reply[#reply + 1], reply[#reply + 2] = -i, h[2] end
  end
end
if kept > 0 then call('ZADD', leases, unpack(renewed)) end
return reply
