-- What a reload of a run would begin with, read before anything stops.
--
-- KEYS  1 runs (hash)  2 the task's hash
-- ARGV  1 id  2 run  3 data limit (bytes)
-- Returns verdict (OK, FENCED, GONE), and after OK: epoch, crashes, size of data over the limit, function, data.
local function number(text)
  local n = tonumber(text or 0)
  if not n or n ~= n or n < 0 or n > 2 ^ 53 - 2 then return 0 end
  return math.floor(n)
end

if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return {'FENCED'} end
local size = redis.pcall('HSTRLEN', KEYS[2], 'data')
if type(size) == 'table' then return {'GONE'} end
local over = size > tonumber(ARGV[3])
local h = redis.call('HMGET', KEYS[2], 'run', 'function', 'epoch', 'crashes', over and '' or 'data')
if h[1] ~= ARGV[2] then return {'GONE'} end
local func = h[2] and #h[2] <= 512 and h[2] or ''
return {'OK', string.format('%.0f', number(h[3])), number(h[4]), over and size or 0, func, h[5]}
