-- E7: hand on the runs whose lease the caller watched unchanged for long enough.
--
-- KEYS  1 runs (hash)  2 leases (zset)  3 queue (list)  4-7 indexes of the resting states (zsets)
--       8.. the hash of each id
-- ARGV  1 channel prefix  2-4 events: requeued, stopped, poison  5 the error text of poison
--       6 0 to delete a poisoned hash at once (see retire.lua)  7 waiting state  8 stopped state
--       9 error state  10-13 names of the resting states  14 wish to stop  15 0 to delete a stopped hash
--       16 the server the caller knows of ('' not checked)  17-19 lines for the history without their
--       reason, for waiting, stopped, error
--       then for each id: id, run, lease value seen, crashes to write, 1 if poison; last: lines of history kept (see history.lua)
-- Refuses with OTHERSERVER, before any write, where another server answers.
-- Returns for each id OK, ALREADY, FENCED or RENEWED.
--
-- The lease value is compared inside the script: an owner that renewed between the caller's reading
-- and now keeps its run.
-- Only the server that the caller knows of: a new primary may not have all that the old one acknowledged.
--- history.lua
if ARGV[16] ~= '' then
  local info = redis.pcall('INFO', 'replication')
  local server = type(info) == 'string' and string.match(info, 'master_replid:(%w+)')
  if server and server ~= ARGV[16] then return redis.error_reply('OTHERSERVER it is ' .. server) end
end
redis.call('ZREM', KEYS[2], '')
redis.call('LLEN', KEYS[3])
local index = {}
for i = 1, 4 do index[ARGV[9 + i]] = KEYS[3 + i] end
local t = redis.call('TIME')
local now = t[1] .. '.' .. string.format('%06d', t[2])
local reply = {}
for i = 1, #KEYS - 7 do
  local a, hash = 20 + 5 * (i - 1), KEYS[7 + i]
  local id, run = ARGV[a], ARGV[a + 1]
  local held = redis.call('HGET', KEYS[1], id)
  local lease = redis.call('ZSCORE', KEYS[2], id)
  local h = redis.pcall('HMGET', hash, 'run', 'control', 'local', 'last_run', 'worker', 'history')
  if h.err then h = {} end
  -- The registry lost the run, and its hash still names it: nobody claimed it since (see commit.lua).
  if not held and h[1] == run then held = run end
  if held ~= run then
    reply[i] = h[4] == run and 'ALREADY' or 'FENCED'
  elseif lease and tonumber(lease) ~= tonumber(ARGV[a + 2]) then
    reply[i] = 'RENEWED'
  else
    reply[i] = 'OK'
    if h[1] ~= run then
      -- The hash was deleted or made anew: there is nothing to hand on, only an entry to clear.
    elseif h[3] then
      redis.call('DEL', hash)
    else
      local state, event, keep, line = ARGV[7], ARGV[2], '', ARGV[17]
      if h[2] == ARGV[14] then
        state, event, keep, line = ARGV[8], ARGV[3], ARGV[15], ARGV[18]
      elseif ARGV[a + 4] == '1' then
        state, event, keep, line = ARGV[9], ARGV[4], ARGV[6], ARGV[19]
        redis.call('HSET', hash, 'error', ARGV[5])
      end
      if keep == '0' then
        redis.call('DEL', hash)
      else
        local silent = math.max(0, math.floor(tonumber(now) - (tonumber(lease) or 0) / 1e6))
        local why = 'lease of ' .. (h[5] or '?'):sub(1, 64) .. ' silent for ' .. (lease and silent or '?') .. ' s'
        redis.call('HSET', hash, 'state', state, 'last_update', now, 'last_run', run, 'crashes',
          ARGV[a + 3], 'crash_at', now, noted(h[6], t, line .. escaped(why, 200)))
        redis.call('HDEL', hash, 'run', 'control')
        redis.pcall('ZADD', index[state], now, id)
      end
      if state == ARGV[7] then redis.call('LPUSH', KEYS[3], id) end
      redis.call('PUBLISH', ARGV[1] .. id, event)
    end
    redis.call('HDEL', KEYS[1], id)
    redis.call('ZREM', KEYS[2], id)
  end
end
return reply
