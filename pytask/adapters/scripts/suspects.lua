-- What a monitor must know of runs whose lease is odd.
--
-- KEYS  1 runs (hash)  2.. the hash of each id     ARGV  1 running state, then the ids
-- Returns for each id: its run ('' for none), epoch and crashes of its hash.
--
-- A run that the registry lost is told by the hash that still names it: a living owner registers it again at its
-- next renewal, which also moves the lease, and a dead one's would stay for ever.
--
-- Numbers, not the fields as they are: a client may have written hundreds of megabytes there.
local function number(text)
  local n = tonumber(text or 0)
  if not n or n ~= n or n < 0 or n > 2 ^ 53 - 2 then return 0 end
  return math.floor(n)
end

local reply = {}
-- A registry entry is read by monitors (see claim.lua).
local function plausible(run) return run and #run > 0 and #run <= 128 and not run:find('[^!-~]') end
if #ARGV == 1 then return reply end
for i, run in ipairs(redis.call('HMGET', KEYS[1], unpack(ARGV, 2))) do
  local h = redis.pcall('HMGET', KEYS[i + 1], 'epoch', 'crashes', 'run', 'state')
  if h.err then h = {} end
  if not run and h[4] == ARGV[1] and plausible(h[3]) then run = h[3] end
  reply[3 * i - 2] = run or ''
  reply[3 * i - 1] = string.format('%.0f', number(h[1]))
  reply[3 * i] = string.format('%.0f', number(h[2]))
end
return reply
