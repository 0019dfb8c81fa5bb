-- Remove ids from the paused set whose tasks are gone, or are no longer paused.
--
-- Returns how many were removed.
--
-- One that waits and lost its field by hand is queued later by the sweep (see put_back.lua).
--- include: names, ids, places
local rests, gone = places_in(resting), 0
call('SCARD', paused)
for i, hash in ipairs(hashes) do
  local h = pcall('HMGET', hash, 'paused', 'state')
  local ended = not h.err and rests[h[2]] and h[2] ~= delayed
  if h.err or not h[1] or ended then
    gone = gone + call('SREM', paused, ids[i])
    if ended and h[1] then call('HDEL', hash, 'paused') end
  end
end
return gone
