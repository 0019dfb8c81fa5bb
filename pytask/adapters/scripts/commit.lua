-- E3-E6 and the events of tasks: one batch, in order.
--
-- KEYS  1 runs (hash)  2 leases (zset)  3 queue (list)  4-7 indexes of the resting states (zsets)
--       8.. the hash of each change
-- ARGV  1 channel prefix  2-5 names of the resting states, then for each change:
--       id, run, event ('' for none), new state ('' for an event only),
--       mode: done | rest | queue | delete, seconds to keep the hash ('' for ever, 0 not at all),
--       number of fields, then field, value for each
-- Returns for each change OK, ALREADY, FENCED, GONE, or BADTYPE (the queue is not a list; nothing done).
--
-- Begins with a write that needs no memory (see renew.lua).  A hash that no longer names the run was
-- deleted, or deleted and made anew: only the registry is cleared, or we would write a ghost.
redis.call('ZREM', KEYS[2], '')
local index = {}
for i = 1, 4 do index[ARGV[1 + i]] = KEYS[3 + i] end
local n = #KEYS - 7
local ids, at = {}, {}
local p = 6
for i = 1, n do
  ids[i], at[i] = ARGV[p], p
  p = p + 7 + 2 * tonumber(ARGV[p + 6])
end
local live = redis.call('HMGET', KEYS[1], unpack(ids))
local queue_ok = type(redis.pcall('LLEN', KEYS[3])) == 'number'
local t = redis.call('TIME')
local now = t[1] .. '.' .. string.format('%06d', t[2])
local reply, dropped, over, indexed = {}, {}, {}, {}

for i = 1, n do
  local a, hash = at[i], KEYS[7 + i]
  local id, run, event, state, mode, keep = ids[i], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4],
    ARGV[a + 5]
  local verdict = 'OK'
  -- The registry lost the run, but the hash is still ours: nobody claimed it since (see renew.lua).
  if not live[i] and redis.pcall('HGET', hash, 'run') == run then live[i] = run end
  if live[i] ~= run or over[id] then
    verdict = 'FENCED'
    if state ~= '' and redis.pcall('HGET', hash, 'last_run') == run then verdict = 'ALREADY' end
  elseif state ~= '' then
    if mode == 'queue' and not queue_ok then
      verdict = 'BADTYPE'
    elseif redis.pcall('HGET', hash, 'run') ~= run then
      verdict = 'GONE'
    elseif mode == 'delete' or keep == '0' then
      redis.call('DEL', hash)
    else
      local fields = {'state', state, 'last_update', now, 'last_run', run}
      for f = a + 7, a + 6 + 2 * tonumber(ARGV[a + 6]) do fields[#fields + 1] = ARGV[f] end
      redis.call('HSET', hash, unpack(fields))
      redis.call('HDEL', hash, 'run', 'control', 'local')
      if mode == 'done' then redis.call('HDEL', hash, 'crashes', 'crash_at') end
      if keep ~= '' then redis.call('EXPIRE', hash, keep) end
      local key = index[state]
      indexed[key] = indexed[key] or {}
      table.insert(indexed[key], now)
      table.insert(indexed[key], id)
      if mode == 'queue' then redis.call('RPUSH', KEYS[3], id) end
    end
    if verdict ~= 'BADTYPE' then
      over[id] = true
      dropped[#dropped + 1] = id
    end
  end
  if verdict == 'OK' and event ~= '' then redis.call('PUBLISH', ARGV[1] .. id, event) end
  reply[i] = verdict
end

if #dropped > 0 then
  redis.call('HDEL', KEYS[1], unpack(dropped))
  redis.call('ZREM', KEYS[2], unpack(dropped))
end
for key, entries in pairs(indexed) do redis.pcall('ZADD', key, unpack(entries)) end
return reply
