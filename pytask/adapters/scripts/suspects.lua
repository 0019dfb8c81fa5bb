-- What a monitor must know of runs whose lease is odd.
--
-- KEYS  1 runs (hash)  2.. the hash of each id     ARGV  the ids
-- Returns for each id: its run ('' for none), epoch and crashes of its hash.
--
-- Numbers, not the fields as they are: a client may have written hundreds of megabytes there.
local function number(text)
  local n = tonumber(text or 0)
  if not n or n ~= n or n < 0 or n > 2 ^ 53 - 2 then return 0 end
  return math.floor(n)
end

local reply = {}
if #ARGV == 0 then return reply end
for i, run in ipairs(redis.call('HMGET', KEYS[1], unpack(ARGV))) do
  local h = redis.pcall('HMGET', KEYS[i + 1], 'epoch', 'crashes')
  if h.err then h = {} end
  reply[3 * i - 2] = run or ''
  reply[3 * i - 1] = string.format('%.0f', number(h[1]))
  reply[3 * i] = string.format('%.0f', number(h[2]))
end
return reply
