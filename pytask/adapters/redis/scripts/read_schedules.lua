-- What schedules say: for each the fields of a list, none where its hash does not exist, '' where it is no hash.
--
-- Of a field only the beginning is read, as any client may write anything there.
--- include: names
local found = {}
for i = 1, #hashes do
  local h = pcall('HMGET', hashes[i], unpack(fields, 1, #fields))
  if h.err then
    found[i] = ''
  elseif call('EXISTS', hashes[i]) == 0 then
    found[i] = {}
  else
    for at = 1, #fields do h[at] = (h[at] or ''):sub(1, longest + 1) end
    found[i] = h
  end
end
return found
