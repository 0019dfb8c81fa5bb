-- Store requests for the owners of runs.
--
-- With `fresh` a client asks for a reload: an earlier one was answered, and this one is not a repetition of it.
--
-- Returns for each id REQUESTED, STATE (it does not run: no-op) or BADTYPE.
--
-- Begins with a write that needs no memory (see renew.lua).
--- include: names, time, history
call('HDEL', runs, '')
local reply = {}
for i, hash in ipairs(hashes) do
  local held = call('HGET', runs, ids[i])
  local h = pcall('HMGET', hash, 'run', 'control', 'history')
  if h.err then
    reply[i] = 'BADTYPE'
  elseif not held or h[1] ~= held then
    reply[i] = 'STATE'
  else
    if h[2] ~= stop and h[2] ~= request then call('HSET', hash, 'control', request, noted(h[3], line)) end
    if fresh and h[2] ~= stop then call('HDEL', hash, 'reload_refused', 'reloaded') end
    reply[i] = 'REQUESTED'
  end
end
return reply
