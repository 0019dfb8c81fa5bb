-- E12: put back runs that live with the caller, and that Redis forgot when it went back in time.
--
-- KEYS  1 runs (hash)  2 leases (zset)  3 queue (list)  4-7 indexes of the resting states (zsets)
--       8.. the hash of each id
-- ARGV  1 running state  2 worker  3 channel prefix  4-6 the `running` event, around run and epoch
--       7-10 names of the resting states (any other word counts as the first)  11 the wish to stop, then id,
--       run, epoch for each hash; last: lines of history kept (see history.lua)
-- Returns for each id OK, FENCED (a run is there that is not older) or GONE (no such hash).
--
-- The epoch decides: it grows with every run of an id, so whatever the hash tells of an earlier one was
-- over when ours was claimed.  A wish to stop is kept all the same: whether it was asked before our claim or
-- after the data went back is not known, and a stop must not be lost.  Begins with a write that needs no memory (see renew.lua).
--- history.lua
local REACH, MOST = 1024, 2 ^ 53 - 2
local function number(text)
  local n = tonumber(text or 0)
  if not n or n ~= n or n < 0 or n > MOST then return 0 end
  return math.floor(n)
end

redis.call('ZREM', KEYS[2], '')
redis.call('LLEN', KEYS[3])
local index = {}
for i = 1, 4 do index[ARGV[6 + i]] = KEYS[3 + i] end
local t = redis.call('TIME')
local us = string.format('%06d', t[2])
local reply = {}
for i = 1, #KEYS - 7 do
  local a, hash = 9 + 3 * i, KEYS[7 + i]
  local id, run, epoch = ARGV[a], ARGV[a + 1], tonumber(ARGV[a + 2])
  local held = redis.call('HGET', KEYS[1], id)
  local h = redis.pcall('HMGET', hash, 'run', 'epoch', 'state', 'attempts', 'history', 'control')
  if h.err or redis.call('EXISTS', hash) == 0 then
    reply[i] = 'GONE'
  else
    local there = number(h[2])
    if there > epoch or (there == epoch and h[1] ~= run) or (held and held ~= run and held ~= h[1]) then
      reply[i] = 'FENCED'
    else
      local from = (index[h[3]] or h[3] == ARGV[1]) and h[3] or ARGV[7]
      local line = from .. ' ' .. ARGV[1] .. ' adopt ' .. escaped(ARGV[2], 64) .. ' -'
      if h[1] ~= run then
        redis.call('HSET', hash, 'state', ARGV[1], 'run', run, 'worker', ARGV[2], 'epoch', ARGV[a + 2],
          'last_update', t[1] .. '.' .. us, 'attempts', string.format('%.0f', number(h[4]) + 1),
          noted(h[5], t, line))
        redis.call('HDEL', hash, 'output', 'error')
        if h[6] ~= ARGV[11] then redis.call('HDEL', hash, 'control') end
      else
        redis.call('HSET', hash, 'state', ARGV[1], 'last_update', t[1] .. '.' .. us, noted(h[5], t, line))
      end
      redis.call('PERSIST', hash)
      redis.call('HSET', KEYS[1], id, run)
      redis.call('ZADD', KEYS[2], t[1] .. us, id)
      redis.pcall('ZREM', index[h[3]] or KEYS[4], id)
      -- Further up in a long queue it is dropped when it is met: by then it runs.
      if redis.call('LPOS', KEYS[3], id, 'RANK', -1, 'MAXLEN', REACH) then
        redis.call('LREM', KEYS[3], -1, id)
      end
      redis.call('PUBLISH', ARGV[3] .. id, ARGV[4] .. run .. ARGV[5] .. ARGV[a + 2] .. ARGV[6])
      reply[i] = 'OK'
    end
  end
end
return reply
