-- Not a verb: stands in each script that moves tasks, in place of its line `--- history.lua`.
--
-- The last of ARGV there is how many lines of a task's history are kept (0: none are written).
local KEPT = tonumber(ARGV[#ARGV])
-- What others wrote, as one word of the history: see pytask/domain/history.py, which reads it.
local function escaped(text, most)
  if not text or text == '' then return '-' end
  return (text:sub(1, most):gsub('[^!-$&-~]', function(c) return string.format('%%%02X', c:byte()) end))
end
-- The field and its new value for an HSET that moves a task; nothing where no history is kept.
local function noted(old, t, line)
  if KEPT == 0 then return end
  if not old or #old > 8192 then old = '' end
  local text = old .. string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000)) .. ' ' .. line .. '\n'
  local _, lines = text:gsub('\n', '')
  while lines > KEPT or (lines > 1 and #text > 4096) do
    text = text:sub(text:find('\n', 1, true) + 1)
    lines = lines - 1
  end
  return 'history', text
end
