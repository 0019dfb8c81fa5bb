
end
local fine, result = pcall(main)
local named = {}
for _, word in ipairs(ARGV) do named[word] = true end
if VERB == 'renew' then
  -- There the runs travel as one word, behind the session that they share.
@RENEW@
  for rest in string.gmatch(rests, '%S+') do
    named[string.byte(rest) == 61 and string.sub(rest, 2) or session .. rest] = true
  end
end
local lines = {}
for _, id in ipairs(order) do
  local b, a = before[id], look(id)
  local same = true
  for i = 1, 6 do same = same and a[i] == b[i] end
  local owner = b[6] ~= '' and b[6] or b[2]
  local ours = named[owner] and '1' or '0'
  if not same or (a[7] == '') ~= (b[7] == '') then
    lines[#lines + 1] = table.concat({id, ours, table.concat(b, '\31'), table.concat(a, '\31')}, '\31')
  elseif a[7] ~= b[7] then
    lines[#lines + 1] = table.concat({id, ours, a[2], a[6]}, '\31')
  end
end
local words = {}
local told = VERB == 'claim' and fine and result[1] or result
if fine and type(told) == 'string' then
  -- Verdicts in one string, with other words between them.
  local split = {}
  for word in string.gmatch(told, '%S+') do split[#split + 1] = word end
  told = split
end
if fine and type(told) == 'table' then
  for _, word in ipairs(told) do
    if word == 'FENCED' or word == 'GONE' or word == 'RENEWED' or word == 'ALREADY' or word == 'OK' then
      words[#words + 1] = word
    end
  end
end
local refused = false
for _, word in ipairs(words) do refused = refused or word ~= 'OK' end
if #lines > 0 or refused or #queued > 0 or #notes > 0 then
  server.pcall('XADD', 'pytask:audit', '*', 's', SOURCE, 'v', VERB, 'c', table.concat(lines, '\30'),
    'r', table.concat(words, ' '), 'q', table.concat(queued, '\30'), 'n', table.concat(notes, ' '))
end
if not fine then return error(result, 0) end
return result
