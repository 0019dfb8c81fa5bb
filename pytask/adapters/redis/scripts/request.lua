-- Store requests for the owners of runs.
--
-- With `fresh` a client asks for a reload: an earlier one was answered, and this one is not a repetition of it.  The answer
-- is removed, also where a request to stop is stronger: it must not be taken for one to this request.
--
-- With `late` it is a message, which every worker receives: where another worker has stored it, and its owner has answered
-- it already, it must not be stored again.  The answer names the data in force: if that is still in the hash, and the
-- answer is younger than `late` seconds, nobody has asked for anything else.
--
-- Returns for each id REQUESTED, STATE (it does not run: no-op) or BADTYPE.
--
-- Begins with a write that needs no memory (see renew.lua).
--- include: names, time, history
call('HDEL', runs, '')
local reply = {}
local function is_answered(hash)
  local h = call('HMGET', hash, 'reload_refused', 'reloaded')
  local text = h[1] or h[2]
  local at, digest = (text or ''):match('"at":([%d.]+),"sha1":"(%x+)"')
  local age = at and tonumber(now) - tonumber(at)
  return age and age < late and redis.sha1hex and redis.sha1hex(call('HGET', hash, 'data') or '') == digest
end
for i, hash in ipairs(hashes) do
  local held = call('HGET', runs, ids[i])
  local h = pcall('HMGET', hash, 'run', 'control', 'history')
  if h.err then
    reply[i] = 'BADTYPE'
  elseif not held or h[1] ~= held then
    reply[i] = 'STATE'
  elseif late > 0 and not h[2] and is_answered(hash) then
    reply[i] = 'STATE'
  else
    if h[2] ~= stop and h[2] ~= request then call('HSET', hash, 'control', request, noted(h[3], line)) end
    if fresh then call('HDEL', hash, 'reload_refused', 'reloaded') end
    reply[i] = 'REQUESTED'
  end
end
return reply
