-- A producer's HSET and LPUSH for many tasks of one function, in one step.
--
-- KEYS  1 queue (list)  2.. the hash of each id
-- ARGV  1 bytes of the namespace, which each hash begins with  2 function  3 '1': an id may be taken
--       then the data (JSON) of each id, '' for none
-- Returns a flat array: position, ALREADY (this very task is there) or STATE (another task or key is), for
-- each id that was not queued; empty where all were.
-- A key of another type is met before anything is written.
redis.call('LLEN', KEYS[1])
local skip, func, check = tonumber(ARGV[1]) + 1, ARGV[2], ARGV[3] == '1'
local ids, reply = {}, {}
for i = 2, #KEYS do
  local hash, data = KEYS[i], ARGV[2 + i]
  if check and redis.call('EXISTS', hash) == 1 then
    local h = redis.pcall('HMGET', hash, 'function', 'data')
    local same = not h.err and h[1] == func and (h[2] or '') == data
    reply[#reply + 1] = i - 1
    reply[#reply + 1] = same and 'ALREADY' or 'STATE'
  else
    if data == '' then
      redis.call('HSET', hash, 'function', func)
    else
      redis.call('HSET', hash, 'function', func, 'data', data)
    end
    ids[#ids + 1] = string.sub(hash, skip)
  end
end
if #ids > 0 then redis.call('LPUSH', KEYS[1], unpack(ids)) end
return reply
