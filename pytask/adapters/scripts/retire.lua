-- Delete hashes of tasks that rested for as long as they are kept, and that do not wait again.
--
-- KEYS  1 runs (hash)  2 queue (list)  3 index of the state they rest in (zset)  4.. the hash of each id
-- ARGV  1 that state  2 seconds that its hashes are kept, then the ids
-- Returns how many of the ids stay in the index; -1 where the queue is too long to look through: nothing done.
--
-- A hash has no expiry of its own: a client's HSET does not take one away, and the hash would vanish under an id
-- that was pushed again and still waits.  So the queue is looked through in the very step that deletes.  That
-- costs one walk for all ids, some 20 ms for 100,000 entries.  In a longer queue hashes stay.
local LONGEST, STEP = 100000, 1000
local queued = redis.call('LLEN', KEYS[2])
redis.call('ZCARD', KEYS[3])
redis.call('HLEN', KEYS[1])
if queued > LONGEST then return -1 end
local before = redis.call('TIME')[1] - ARGV[2]
local left, due, gone = 0, {}, {}
for i = 4, #KEYS do
  local id = ARGV[i - 1]
  local at = redis.call('ZSCORE', KEYS[3], id)
  if at and tonumber(at) > before then
    left = left + 1
  elseif at then
    local state = redis.pcall('HGET', KEYS[i], 'state')
    -- An entry may outlive its hash, or the hash be another's by now: then only the entry goes.
    if state == ARGV[1] and redis.call('HEXISTS', KEYS[1], id) == 0 then due[id] = KEYS[i] else gone[#gone + 1] = id end
  end
end
if next(due) then
  for at = 0, queued - 1, STEP do
    for _, id in ipairs(redis.call('LRANGE', KEYS[2], at, at + STEP - 1)) do
      if due[id] then
        due[id] = nil
        left = left + 1
      end
    end
  end
end
for id, hash in pairs(due) do
  redis.call('DEL', hash)
  gone[#gone + 1] = id
end
for at = 1, #gone, STEP do redis.call('ZREM', KEYS[3], unpack(gone, at, math.min(at + STEP - 1, #gone))) end
return left
