-- E16: hashes that say they run although the registry has no run of them, and runs without a lease.
--
-- KEYS  1 runs (hash)  2 leases (zset)  3 queue (list)  4-5 indexes of the waiting and the stopped state (zsets)
--       6.. the hash of each id
-- ARGV  1 running state  2 waiting state  3 stopped state  4 seconds after which an update is old
--       5 channel prefix  6 the `requeued` event  7 the `stopped` event  8-9 their lines for the history
--       10 the wish to stop  11 0 to delete a stopped hash at once, then the ids;
--       last: lines of history kept
-- Returns how many were mended.
--
-- A hash that names a run is registered again, and a full expiry passes before it is handed on: its
-- owner may live.  One that names none was written by hand or by an ancestor: nobody runs it.  A run
-- that the registry has is given a lease whatever became of its hash: the monitor clears it away.
--- history.lua
local function since(text)
  -- What a client wrote there may be no time, or one that never comes.
  local n = tonumber(text or 0)
  if not n or n ~= n or n < 0 or n > 2 ^ 53 - 2 then return 0 end
  return n
end

redis.call('LLEN', KEYS[3])
redis.call('ZCARD', KEYS[2])
local t = redis.call('TIME')
local us = string.format('%06d', t[2])
local now = t[1] .. '.' .. us
local mended = 0
-- A registry entry is read by monitors (see claim.lua).
local function plausible(run) return run and #run > 0 and #run <= 128 and not run:find('[^!-~]') end
for i = 1, #KEYS - 5 do
  local id, hash = ARGV[11 + i], KEYS[5 + i]
  local h = redis.pcall('HMGET', hash, 'state', 'run', 'last_update', 'history', 'control')
  if redis.call('HEXISTS', KEYS[1], id) == 1 then
    -- A registered run without a lease would never be looked at by a monitor.
    if not redis.call('ZSCORE', KEYS[2], id) then
      redis.call('ZADD', KEYS[2], t[1] .. us, id)
      mended = mended + 1
    end
  elseif h.err or h[1] ~= ARGV[1] then
    -- at rest, or no task
  else
    if plausible(h[2]) then
      redis.call('HSET', KEYS[1], id, h[2])
      redis.call('ZADD', KEYS[2], t[1] .. us, id)
      mended = mended + 1
    elseif t[1] - since(h[3]) > tonumber(ARGV[4]) then
      local stop = h[5] == ARGV[10]
      local which = stop and 1 or 0
      if stop and ARGV[11] == '0' then
        redis.call('DEL', hash)
      else
        redis.call('HSET', hash, 'state', ARGV[2 + which], 'last_update', now, noted(h[4], t, ARGV[8 + which]))
        redis.pcall('ZADD', KEYS[4 + which], now, id)
        if stop then redis.call('HDEL', hash, 'control') end
      end
      if not stop then redis.call('LPUSH', KEYS[3], id) end
      redis.call('PUBLISH', ARGV[5] .. id, ARGV[6 + which])
      mended = mended + 1
    end
  end
end
return mended
