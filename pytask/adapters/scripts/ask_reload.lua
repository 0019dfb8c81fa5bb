-- E11: write the wish to reload down for the owners of runs.
--
-- KEYS  1 runs (hash)  2.. the hash of each id
-- ARGV  1 the wish  2 the wish that it must not replace (stop)  3 the line for the history, then the ids;
--       last: lines of history kept (see history.lua)
-- Returns for each id REQUESTED, STATE (it does not run: no-op) or BADTYPE.
--
-- Begins with a write that needs no memory (see renew.lua).
--- history.lua
redis.call('HDEL', KEYS[1], '')
local t = redis.call('TIME')
local reply = {}
for i = 1, #KEYS - 1 do
  local held = redis.call('HGET', KEYS[1], ARGV[3 + i])
  local h = redis.pcall('HMGET', KEYS[1 + i], 'run', 'control', 'history')
  if h.err then
    reply[i] = 'BADTYPE'
  elseif not held or h[1] ~= held then
    reply[i] = 'STATE'
  else
    if h[2] ~= ARGV[2] and h[2] ~= ARGV[1] then
      redis.call('HSET', KEYS[1 + i], 'control', ARGV[1], noted(h[3], t, ARGV[3]))
    end
    reply[i] = 'REQUESTED'
  end
end
return reply
