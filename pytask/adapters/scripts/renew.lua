-- E2: renew a chunk of runs (or none: a sign of life), and keep the marker of the data.
--
-- KEYS  1 runs (hash)  2 leases (zset)  3 incarnation (hash)  4.. the hash of each id
-- ARGV  1 running state  2 id for a new marker  3 '1' where no other server takes over from this one,
--       4 length of what stands in front of an id in the key of its hash
--       5 the session, with the colon, in front of the runs  6 for each hash the rest of its run, or "=" and
--       a whole one, with blanks between: the session would be most of what is sent
-- Returns a flat array: the marker's id ('' for none), this server's replication id ('' not told),
--       microseconds since a change of server that may have lost writes (-1 none), and since the last
--       change of any kind (-1 none); then what is not
--       simply OK: position (from 1), then FENCED or GONE; or the negative position, then the wish that
--       stands in `control`.
--
-- The marker: `id`, lost with the data; `server`, as last seen; `safe`, whether acknowledged writes
-- outlive it (replicas must acknowledge, or it is alone and has an AOF); `since`, when it last changed
-- unsafely, and `changed`, when at all, by the clock of Redis.
--
-- Begins with a write that needs no memory: a full Redis lets a script that already wrote finish, and
-- the fleet must not stop because Redis is full.  Writes to a hash only while it names this run, since a
-- late heartbeat would otherwise make a ghost of two fields out of a deleted task.
redis.call('ZREM', KEYS[2], '')
local t = redis.call('TIME')
local now_us = t[1] .. string.format('%06d', t[2])
local last_update = t[1] .. '.' .. string.format('%06d', t[2])

local info, server, safe = redis.pcall('INFO', 'replication'), '', '0'
if type(info) == 'string' then
  server = string.match(info, 'master_replid:(%w+)') or ''
  -- This line is there only where min-replicas is in force.
  local good = string.match(info, 'min_slaves_good_slaves:(%d+)')
  if good then
    if tonumber(good) > 0 then safe = '1' end
  elseif ARGV[3] == '1' and string.find(info, 'connected_slaves:0', 1, true) then
    local kept = redis.pcall('INFO', 'persistence')
    if type(kept) == 'string' and string.find(kept, 'aof_enabled:1', 1, true) then safe = '1' end
  end
end
local m = redis.pcall('HMGET', KEYS[3], 'id', 'server', 'safe', 'since', 'changed')
local marker, since, moved = '', '0', '0'
if not m.err then
  marker, since, moved = m[1] or ARGV[2], m[1] and m[4] or '0', m[1] and m[5] or '0'
  if not m[1] then
    redis.call('HSET', KEYS[3], 'id', marker, 'server', server, 'safe', safe, 'since', since, 'changed', '0')
  elseif server ~= '' and m[2] ~= server then
    since = (m[2] == '' or m[3] == '1') and '0' or now_us
    if m[2] ~= '' then moved = now_us end
    redis.call('HSET', KEYS[3], 'server', server, 'safe', safe, 'since', since, 'changed', moved)
  elseif server ~= '' and m[3] ~= safe then
    redis.call('HSET', KEYS[3], 'safe', safe)
  end
end
local function age(at)
  local then_us = tonumber(at) or 0
  return then_us > 0 and math.max(0, tonumber(now_us) - then_us) or -1
end
local reply, leases = {marker, server, age(since), age(moved)}, {}

local n = #KEYS - 3
if n == 0 then return reply end
local call, pcall, prefix = redis.call, redis.pcall, tonumber(ARGV[4])
local ids = {unpack(KEYS, 4)}
if prefix > 0 then
  for i = 1, n do ids[i] = string.sub(ids[i], prefix + 1) end
end
local runs = {}
for rest in string.gmatch(ARGV[6], '%S+') do
  runs[#runs + 1] = string.byte(rest) == 61 and string.sub(rest, 2) or ARGV[5] .. rest
end
local live = call('HMGET', KEYS[1], unpack(ids))
for i = 1, n do
  local id, run, hash, held = ids[i], runs[i], KEYS[3 + i], live[i]
  local h = pcall('HMGET', hash, 'run', 'control')
  local verdict = nil
  if held and held ~= run then
    verdict = 'FENCED'
  elseif h.err or h[1] ~= run then
    verdict = 'GONE'
  else
    -- No entry in the registry, but the hash is ours: nobody claimed it since, so put it back.
    if not held then call('HSET', KEYS[1], id, run) end
    call('HSET', hash, 'last_update', last_update, 'state', ARGV[1])
    leases[#leases + 1] = now_us
    leases[#leases + 1] = id
    -- A client may have written anything there; what is no word of ours is not carried over the wire.
    if h[2] and #h[2] <= 16 then
      reply[#reply + 1] = -i
      reply[#reply + 1] = h[2]
    end
  end
  if verdict then
    reply[#reply + 1] = i
    reply[#reply + 1] = verdict
  end
end
if #leases > 0 then redis.call('ZADD', KEYS[2], unpack(leases)) end
return reply
