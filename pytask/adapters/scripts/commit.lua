-- E3-E6 and the events of tasks: one batch, in order.
--
-- KEYS  1 runs (hash)  2 leases (zset)  3 queue (list)  4-7 indexes of the resting states (zsets)
--       8.. the hash of each change
-- ARGV  1 channel prefix  2-5 names of the resting states  6 bytes of the namespace, in front of each hash's id
--       7 number of kinds of change, then for each kind: event ('' for none), new state ('' for an event
--       only), mode: done | rest | queue | delete, 0 to delete the hash at once (see retire.lua),
--       the line for the history, number of fields, then field, value for each; for the mode queue these are
--       the wish to stop, and the kind (from 1) that is meant instead where it stands in the hash;
--       then for each change: run, its kind (from 1); last: lines of history kept (see history.lua)
-- Returns one string of words, for each change OK, ALREADY, FENCED, GONE, or BADTYPE (the queue is not a
--       list; nothing done).
--
-- Without changes it does nothing: so a worker has the script, and a connection, before its first end.
--
-- Most changes of a batch are alike, so what they say is sent once.
--
-- Begins with a write that needs no memory (see renew.lua).  A hash that no longer names the run was
-- deleted, or deleted and made anew: only the registry is cleared, or we would write a ghost.
--- history.lua
local call, pcall = redis.call, redis.pcall
call('ZREM', KEYS[2], '')
local index = {}
for i = 1, 4 do index[ARGV[1 + i]] = KEYS[3 + i] end
local n = #KEYS - 7
if n == 0 then return '' end
local kinds, p = {}, 8
for k = 1, tonumber(ARGV[7]) do
  local last = p + 5 + 2 * tonumber(ARGV[p + 5])
  kinds[tostring(k)] = {ARGV[p], ARGV[p + 1], ARGV[p + 2], ARGV[p + 3], p + 6, last, ARGV[p + 4]}
  p = last + 1
end
local ids, from = {}, tonumber(ARGV[6]) + 1
for i = 1, n do ids[i] = KEYS[7 + i]:sub(from) end
local live = call('HMGET', KEYS[1], unpack(ids))
local queue_ok = type(pcall('LLEN', KEYS[3])) == 'number'
local t = call('TIME')
local now = t[1] .. '.' .. string.format('%06d', t[2])
local reply, dropped, over, indexed = {}, {}, {}, {}

for i = 1, n do
  local id, hash, run, kind = ids[i], KEYS[7 + i], ARGV[p], kinds[ARGV[p + 1]]
  local event, state, mode, keep = kind[1], kind[2], kind[3], kind[4]
  p = p + 2
  local verdict, held = 'OK', live[i]
  -- What the hash names: asked for an end, and where the registry forgot the run.
  local h
  if mode == 'queue' then
    h = pcall('HMGET', hash, 'run', KEPT > 0 and 'history' or '', 'control')
  elseif state ~= '' or not held then
    h = pcall('HMGET', hash, 'run', KEPT > 0 and 'history' or '')
  end
  local owner = h and not h.err and h[1]
  -- Nothing replaces a stop but its being carried out: the run is dead, so that it is done by now.
  if mode == 'queue' and owner == run and h[3] == ARGV[kind[5]] then
    kind = kinds[ARGV[kind[6]]]
    event, state, mode, keep = kind[1], kind[2], kind[3], kind[4]
  end
  -- The registry lost the run, but the hash is still ours: nobody claimed it since (see renew.lua).
  if not held and owner == run then held = run end
  if held ~= run or over[id] then
    verdict = 'FENCED'
    if state ~= '' and pcall('HGET', hash, 'last_run') == run then verdict = 'ALREADY' end
  elseif state ~= '' then
    if mode == 'queue' and not queue_ok then
      verdict = 'BADTYPE'
    elseif owner ~= run then
      verdict = 'GONE'
    elseif mode == 'delete' or keep == '0' then
      call('DEL', hash)
    else
      local plain = mode == 'done'
      if kind[5] > kind[6] or mode == 'queue' then
        call('HSET', hash, 'state', state, 'last_update', now, 'last_run', run, noted(h[2], t, kind[7], plain))
      else
        local more = {unpack(ARGV, kind[5], kind[6])}
        more[#more + 1], more[#more + 2] = noted(h[2], t, kind[7], plain)
        call('HSET', hash, 'state', state, 'last_update', now, 'last_run', run, unpack(more))
      end
      if mode == 'done' then
        call('HDEL', hash, 'run', 'control', 'local', 'crashes', 'crash_at')
      else
        call('HDEL', hash, 'run', 'control', 'local')
      end
      local entries = indexed[state]
      if not entries then
        entries = {}
        indexed[state] = entries
      end
      entries[#entries + 1] = now
      entries[#entries + 1] = id
      if mode == 'queue' then call('RPUSH', KEYS[3], id) end
    end
    if verdict ~= 'BADTYPE' then
      over[id] = true
      dropped[#dropped + 1] = id
    end
  end
  if verdict == 'OK' and event ~= '' then call('PUBLISH', ARGV[1] .. id, event) end
  reply[i] = verdict
end

if #dropped > 0 then
  call('HDEL', KEYS[1], unpack(dropped))
  call('ZREM', KEYS[2], unpack(dropped))
end
for state, entries in pairs(indexed) do pcall('ZADD', index[state], unpack(entries)) end
return table.concat(reply, ' ')
