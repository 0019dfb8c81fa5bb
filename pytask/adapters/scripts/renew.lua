-- E2: renew a chunk of runs.
--
-- KEYS  1 runs (hash)  2 leases (zset)  3.. the hash of each id
-- ARGV  1 running state, then id, run for each hash
-- Returns a flat array of what is not simply OK: position (from 1), then FENCED or GONE; or the negative
--       position, then the wish that stands in `control`.
--
-- Begins with a write that needs no memory: a full Redis lets a script that already wrote finish, and
-- the fleet must not stop because Redis is full.  Writes to a hash only while it names this run, since a
-- late heartbeat would otherwise make a ghost of two fields out of a deleted task.
redis.call('ZREM', KEYS[2], '')
local n = #KEYS - 2
if n == 0 then return {} end
local ids = {}
for i = 1, n do ids[i] = ARGV[2 * i] end
local live = redis.call('HMGET', KEYS[1], unpack(ids))
local t = redis.call('TIME')
local now_us = t[1] .. string.format('%06d', t[2])
local last_update = t[1] .. '.' .. string.format('%06d', t[2])
local reply, leases = {}, {}
for i = 1, n do
  local id, run, hash, held = ids[i], ARGV[2 * i + 1], KEYS[2 + i], live[i]
  local h = redis.pcall('HMGET', hash, 'run', 'control')
  local verdict = nil
  if held and held ~= run then
    verdict = 'FENCED'
  elseif h.err or h[1] ~= run then
    verdict = 'GONE'
  else
    -- No entry in the registry, but the hash is ours: nobody claimed it since, so put it back.
    if not held then redis.call('HSET', KEYS[1], id, run) end
    redis.call('HSET', hash, 'last_update', last_update, 'state', ARGV[1])
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
