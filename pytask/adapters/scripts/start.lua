-- E10: put tasks that came to rest back into the queue.
--
-- KEYS  1 runs (hash)  2 queue (list)  3-6 indexes of the resting states (zsets)  7.. the hash of each id
-- ARGV  1 channel prefix  2 the `queued` event  3 running state  4 new state
--       5 the state a hash without a known state is in  6-9 names of the resting states
--       10 number of allowed source states  11.. their names, then for each id: id, seconds within which
--       an earlier start counts as this one; then the end of the line for the history, and how many
--       lines are kept (see history.lua)
-- Returns for each id OK (queued), STATE (no-op), NOHASH or BADTYPE.
--- history.lua
local REACH = 1024
local index, allowed = {}, {}
for i = 1, 4 do index[ARGV[5 + i]] = KEYS[2 + i] end
local first = 10 + tonumber(ARGV[10])
for i = 11, first do allowed[ARGV[i]] = true end
redis.call('LLEN', KEYS[2])
local t = redis.call('TIME')
local now = t[1] .. '.' .. string.format('%06d', t[2])
local reply = {}
for i = 1, #KEYS - 6 do
  local id, hash, age = ARGV[first + 2 * i - 1], KEYS[6 + i], tonumber(ARGV[first + 2 * i])
  local held = redis.call('HGET', KEYS[1], id)
  local h = redis.pcall('HMGET', hash, 'state', 'run', 'start_at', 'history')
  if h.err then
    reply[i] = 'BADTYPE'
  elseif redis.call('EXISTS', hash) == 0 then
    reply[i] = 'NOHASH'
  else
    local state = index[h[1]] and h[1] or ARGV[5]
    -- Every worker hears every message: one that comes late must not start a short task twice.
    local since = tonumber(now) - (tonumber(h[3] or '') or -1)
    if held or h[1] == ARGV[3] or not allowed[state] or (since >= 0 and since < age) then
      reply[i] = 'STATE'
    else
      redis.call('HSET', hash, 'state', ARGV[4], 'last_update', now, 'crashes', 0, 'start_at', now,
        noted(h[4], t, state .. ARGV[#ARGV - 1]))
      redis.call('HDEL', hash, 'control')
      redis.call('PERSIST', hash)
      redis.pcall('ZREM', index[state], id)
      redis.pcall('ZADD', index[ARGV[4]], now, id)
      -- Pushed again by hand it waits already; a copy deep in a long queue is dropped when it is met, or runs again.
      local waits = redis.call('LPOS', KEYS[2], id, 'MAXLEN', REACH)
        or redis.call('LPOS', KEYS[2], id, 'RANK', -1, 'MAXLEN', REACH)
      if not waits then redis.call('LPUSH', KEYS[2], id) end
      redis.call('PUBLISH', ARGV[1] .. id, ARGV[2])
      reply[i] = 'OK'
    end
  end
end
return reply
