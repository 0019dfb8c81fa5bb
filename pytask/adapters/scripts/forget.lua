-- Drop leases of nobody: no run is registered, and no hash names one.
--
-- KEYS  1 runs (hash)  2 leases (zset)  3.. the hash of each id     ARGV  the ids
-- Returns how many were dropped.
--
-- A hash that names a run is left alone: its owner's next renewal puts the registry right (see renew.lua).
-- Every claim writes registry and lease in one step, so nothing that begins can be met half done.
redis.call('ZREM', KEYS[2], '')
local dropped = 0
for i = 1, #ARGV do
  local hash_run = redis.pcall('HGET', KEYS[2 + i], 'run')
  if type(hash_run) ~= 'string' and redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then
    dropped = dropped + redis.call('ZREM', KEYS[2], ARGV[i])
  end
end
return dropped
