-- E3-E6 and the events of tasks: one batch, in order.
--
-- Returns one string of words, for each change OK, ALREADY, FENCED, GONE, or BADTYPE (the queue is not a
--       list; nothing done).
--
-- Without changes it does nothing: so a worker has the script, and a connection, before its first end.
--
-- Begins with a write that needs no memory (see renew.lua).  A hash that no longer names the run was
-- deleted, or deleted and made anew: only the registry is cleared, or we would write a ghost.
--- include: names, time, ids, index, history
call('ZREM', leases, '')
local n = #hashes
if n == 0 then return '' end
local from = 0
for _, kind in ipairs(kinds) do
  kind.first, kind.last = from + 1, from + kind.words
  from = kind.last
end
local live = call('HMGET', runs, unpack(ids))
local queue_ok = type(pcall('LLEN', queue)) == 'number'
local reply, dropped, over, indexed = {}, {}, {}, {}

-- Write the end of a run into its hash.
local function settle(id, hash, run, kind, old)
  local plain = kind.mode == 'done'
  if kind.words == 0 then
    call('HSET', hash, 'state', kind.state, 'last_update', now, 'last_run', run, noted(old, kind.line, plain))
  else
    local more = {unpack(fields, kind.first, kind.last)}
    more[#more + 1], more[#more + 2] = noted(old, kind.line, plain)
    call('HSET', hash, 'state', kind.state, 'last_update', now, 'last_run', run, unpack(more))
  end
  if plain then
    call('HDEL', hash, 'run', 'control', 'local', 'crashes', 'crash_at')
  else
    call('HDEL', hash, 'run', 'control', 'local')
  end
  local entries = indexed[kind.state]
  if not entries then
    entries = {}
    indexed[kind.state] = entries
  end
  entries[#entries + 1] = now
  entries[#entries + 1] = id
  if kind.mode == 'queue' then call('RPUSH', queue, id) end
end

for i = 1, n do
  local id, hash, run, kind = ids[i], hashes[i], change_runs[i], kinds[change_kinds[i]]
  local verdict, held = 'OK', live[i]
  -- What the hash names: asked for an end, and where the registry forgot the run.
  local h
  if kind.mode == 'queue' then
    h = pcall('HMGET', hash, 'run', kept > 0 and 'history' or '', 'control')
  elseif kind.state ~= '' or not held then
    h = pcall('HMGET', hash, 'run', kept > 0 and 'history' or '')
  end
  local owner = h and not h.err and h[1]
  -- Nothing replaces a stop but its being carried out: the run is dead, so that it is done by now.
  if kind.mode == 'queue' and owner == run and h[3] == stop then kind = kinds[kind.instead] end
  -- The registry lost the run, but the hash is still ours: nobody claimed it since (see renew.lua).
  if not held and owner == run then held = run end
  if held ~= run or over[id] then
    verdict = 'FENCED'
    if kind.state ~= '' and pcall('HGET', hash, 'last_run') == run then verdict = 'ALREADY' end
  elseif kind.state ~= '' then
    if kind.mode == 'queue' and not queue_ok then
      verdict = 'BADTYPE'
    elseif owner ~= run then
      verdict = 'GONE'
    elseif kind.mode == 'delete' or kind.drop then
      call('DEL', hash)
    else
      settle(id, hash, run, kind, h[2])
    end
    if verdict ~= 'BADTYPE' then
      over[id] = true
      dropped[#dropped + 1] = id
    end
  end
  if verdict == 'OK' and kind.event ~= '' then call('PUBLISH', channel .. id, kind.event) end
  reply[i] = verdict
end

if #dropped > 0 then
  call('HDEL', runs, unpack(dropped))
  call('ZREM', leases, unpack(dropped))
end
for state, entries in pairs(indexed) do pcall('ZADD', index[state], unpack(entries)) end
return table.concat(reply, ' ')
