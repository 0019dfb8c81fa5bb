-- Store what a task saves, at once.
--
-- Returns OK, FENCED (a newer run owns the id) or GONE (the hash was deleted, or deleted and created again).
--
-- A renewal may have carried a newer value meanwhile: then nothing is written, and it is OK.  Refuses with OTHERSERVER
-- where another server answers, which may not know the run yet.  Begins with a write that needs no memory (see renew.lua).
--- include: names, server, time, whole, fence, saved_number
call('ZREM', leases, '')
local held = call('HGET', runs, id)
local h = pcall('HMGET', hash, 'run', 'saved_by')
local stranger = fence(run, held, h[1])
if stranger then return stranger end
if saved_number(h[2], run) < nth then
  call('HSET', hash, 'saved', value, 'saved_at', now, 'saved_by', run .. ' ' .. whole(nth))
end
return 'OK'
