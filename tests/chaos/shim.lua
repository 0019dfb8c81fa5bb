-- Test only: stands in front of every script and writes what it did to the stream `pytask:audit`.
--
-- The script itself is the body of `main` below; its `redis` is the table here, which notes every id it
-- looks at.  Each is read before the first touch and after the last, so an entry tells the whole move,
-- whatever keys and arguments a script takes.  Redis runs scripts one by one: one total order of all moves.
local SOURCE, VERB = '@SOURCE@', '@VERB@'
local server = redis
local before, order, queued, notes = {}, {}, {}, {}
local HASH = {HGET = 1, HMGET = 1, HSET = 1, HDEL = 1, HSTRLEN = 1, HEXISTS = 1, DEL = 1, EXISTS = 1}
local function text(value)
  if type(value) ~= 'string' then return '' end
  return value
end
local function look(id)
  local h = server.pcall('HMGET', id, 'state', 'run', 'epoch', 'crashes', 'control')
  if type(h) ~= 'table' or h.err then h = {} end
  return {text(h[1]), text(h[2]), text(h[3]), text(h[4]), text(h[5]),
    text(server.pcall('HGET', 'pytask:runs', id)), text(server.pcall('ZSCORE', 'pytask:leases', id))}
end
local function touch(id)
  if id == '' or before[id] then return end
  order[#order + 1] = id
  before[id] = look(id)
end
local function watch(command, key, ...)
  if key == 'pytask:runs' then
    local words = {...}
    for i = 1, #words, command == 'HSET' and 2 or 1 do touch(words[i]) end
  elseif key == 'new-task' then
    if command == 'LPUSH' or command == 'RPUSH' then queued[#queued + 1] = (...) end
  elseif HASH[command] and string.sub(key, 1, 7) ~= 'pytask:' then
    touch(key)
  end
end
local function note(word) notes[#notes + 1] = word end
local redis = {
  call = function(...) watch(...) return server.call(...) end,
  pcall = function(...) watch(...) return server.pcall(...) end,
  error_reply = server.error_reply,
  status_reply = server.status_reply,
  sha1hex = server.sha1hex,
}
local function main()
