-- A producer's HSET and LPUSH for many tasks of one function, in one step.
--
-- KEYS  1 queue (list)  2.. the hash of each id
-- ARGV  1 bytes of the namespace, which each hash begins with  2 function  3 '1': an id may be taken
--       4 number of finished states  5.. their names, then the data (JSON) of each id, '' for none
-- Returns a flat array: position, then ALREADY (this very task waits or runs), FINISHED (a task of this
-- function has ended: it has the new data now, and is to be started) or STATE (another task or key is there),
-- for each id that was not queued; empty where all were.
-- A key of another type is met before anything is written.
redis.call('LLEN', KEYS[1])
local skip, func, check = tonumber(ARGV[1]) + 1, ARGV[2], ARGV[3] == '1'
local first = 4 + tonumber(ARGV[4])
local ids, reply, finished = {}, {}, {}
for i = 5, first do finished[ARGV[i]] = true end
for i = 2, #KEYS do
  local hash, data = KEYS[i], ARGV[first + i - 1]
  if check and redis.call('EXISTS', hash) == 1 then
    local h = redis.pcall('HMGET', hash, 'function', 'data', 'state')
    local word = 'STATE'
    if not h.err and h[1] == func then
      if finished[h[3]] then
        word = 'FINISHED'
        if data == '' then redis.call('HDEL', hash, 'data') else redis.call('HSET', hash, 'data', data) end
      elseif (h[2] or '') == data then
        word = 'ALREADY'
      end
    end
    reply[#reply + 1] = i - 1
    reply[#reply + 1] = word
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
