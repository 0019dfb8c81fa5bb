-- What runs noted since the last call: lines for the rings of their tasks, and how far they are.
--
-- KEYS  1 runs (hash), then for each run: the hash of its task, the ring of its lines (list)
-- ARGV  1 bytes of the namespace, in front of each hash's id  2 channel prefix  3 lines that a ring keeps
--       4 seconds that it is kept after the last one;
--       then for each run: run, progress ('' for none), the event of that, number of lines, the lines
-- Returns one string of words, for each run OK, FENCED, GONE, or BADTYPE (the ring is no list).
--
-- Nothing here begins with a write that needs no memory: lines can be lost, and a full Redis refuses them.
local call, pcall = redis.call, redis.pcall
local from, most, n = tonumber(ARGV[1]) + 1, tonumber(ARGV[3]), (#KEYS - 1) / 2
local ids = {}
for i = 1, n do ids[i] = KEYS[2 * i]:sub(from) end
local live = call('HMGET', KEYS[1], unpack(ids))
local reply, p = {}, 5
for i = 1, n do
  local hash, ring = KEYS[2 * i], KEYS[2 * i + 1]
  local run, progress, event, count = ARGV[p], ARGV[p + 1], ARGV[p + 2], tonumber(ARGV[p + 3])
  local owner, verdict = pcall('HGET', hash, 'run'), 'OK'
  p = p + 4
  -- The registry may have lost the run, the hash not (see commit.lua); a hash that does not name it is another's.
  if (live[i] or owner) ~= run then
    verdict = 'FENCED'
  elseif owner ~= run then
    verdict = 'GONE'
  else
    if progress ~= '' then
      call('HSET', hash, 'progress', progress)
      call('PUBLISH', ARGV[2] .. ids[i], event)
    end
    if count > 0 then
      local length = pcall('RPUSH', ring, unpack(ARGV, p, p + count - 1))
      if type(length) == 'number' then
        if length > most then call('LTRIM', ring, -most, -1) end
        call('EXPIRE', ring, ARGV[4])
      elseif tostring(length.err):find('WRONGTYPE', 1, true) then
        verdict = 'BADTYPE'
      else
        return length
      end
    end
  end
  p = p + count
  reply[i] = verdict
end
return table.concat(reply, ' ')
