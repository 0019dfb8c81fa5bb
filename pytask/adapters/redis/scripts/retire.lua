-- Delete the hashes of tasks at rest whose retention time is over, unless they wait again.
--
-- Returns how many of the ids stay in the index; -1 if the queue is too long to search: nothing done.
--
-- Hashes have no expiry in Redis: HSET by a client does not remove it, and the hash of an id that was pushed again
-- and still waits would disappear.  Therefore this script searches the queue in the step that deletes, once for all
-- ids, which takes about 20 ms for 100,000 entries.  With a longer queue hashes are kept.
--- include: names, time
local LONGEST, STEP = 100000, 1000
local queued = call('LLEN', queue)
call('ZCARD', index)
call('HLEN', runs)
if queued > LONGEST then return -1 end
local before = t[1] - keep
local left, due, gone = 0, {}, {}
for i, id in ipairs(ids) do
  local at = call('ZSCORE', index, id)
  if at and tonumber(at) > before then
    left = left + 1
  elseif at then
    local rests = pcall('HGET', hashes[i], 'state') == state
    -- The hash may be gone or have another state: then only the index entry is deleted.
    if rests and call('HEXISTS', runs, id) == 0 then due[id] = hashes[i] else gone[#gone + 1] = id end
  end
end
if next(due) then
  for at = 0, queued - 1, STEP do
    for _, id in ipairs(call('LRANGE', queue, at, at + STEP - 1)) do
      if due[id] then
        due[id] = nil
        left = left + 1
      end
    end
  end
end
for id, hash in pairs(due) do
  call('DEL', hash)
  gone[#gone + 1] = id
end
for at = 1, #gone, STEP do call('ZREM', index, unpack(gone, at, math.min(at + STEP - 1, #gone))) end
return left
