-- Delete hashes of tasks that rested for as long as they are kept, and that do not wait again.
--
-- Returns how many of the ids stay in the index; -1 where the queue is too long to look through: nothing done.
--
-- A hash has no expiry of its own: a client's HSET does not take one away, and the hash would vanish under an id
-- that was pushed again and still waits.  So the queue is looked through in the very step that deletes.  That
-- costs one walk for all ids, some 20 ms for 100,000 entries.  In a longer queue hashes stay.
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
    -- An entry may outlive its hash, or the hash be another's by now: then only the entry goes.
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
