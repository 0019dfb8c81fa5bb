-- Keep a sample of the fleet in a ring, if no monitor has kept one in this period.
--
-- Returns 1, or 0 where there is one.  Without `crew` it only looks: 1 where none is there.
--
-- All of it is for people: the counts are the lengths of sets, so the cost does not depend on the number of tasks.
--- include: names, time
local period = math.floor(t[1] / step)
local place = string.format('%.0f', period % size)
local kept = call('HGET', ring, place)
local at = kept and kept:match('^%d+')
if at and math.floor(tonumber(at) / step) == period then return 0 end
if crew == '' then return 1 end
-- A key of another type has no length.
local function length(command, key)
  local found = pcall(command, key)
  return type(found) == 'number' and string.format('%.0f', found) or '0'
end
local line = {t[1], length('ZCARD', leases), length('LLEN', queue), length('ZCARD', timers)}
for i = 2, #indexes do line[#line + 1] = length('ZCARD', indexes[i]) end -- at rest, and not waiting
local oldest = pcall('ZRANGE', leases, 0, 0, 'WITHSCORES')
local age = oldest[2] and math.max(0, t[1] + t[2] / 1e6 - tonumber(oldest[2]) / 1e6) or 0
line[#line + 1] = string.format('%.3f', age)
call('HSET', ring, place, table.concat(line, ' ') .. ' ' .. crew)
call('EXPIRE', ring, string.format('%.0f', 2 * step * size))
return 1
