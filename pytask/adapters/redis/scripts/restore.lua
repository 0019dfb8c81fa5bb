-- Recreate a task whose hash was lost with all data, and queue it; a paused one goes to the paused set.
--
-- Returns OK, STATE (the hash is there, or a run of the id), or MOVED: the data is no longer that of `known_marker`, which was
-- lost as well, maybe with an earlier call that was carried out, and whose task runs where nobody knows.
--- include: names, known_marker, time, history
call('LLEN', queue)
call('ZCARD', timers)
call('SCARD', paused)
if call('EXISTS', hash) == 1 or call('HEXISTS', runs, id) == 1 then return 'STATE' end
call('HSET', hash, 'function', func, 'state', waiting, 'last_update', now, noted(nil, line))
if has_data then call('HSET', hash, 'data', data) end
if #more > 0 then call('HSET', hash, unpack(more)) end
if saved ~= '' then call('HSET', hash, 'saved', saved, 'saved_at', now) end
pcall('ZADD', waiting_index, now, id)
call('ZREM', timers, id)
if on_hold then
  call('HSET', hash, 'paused', now)
  call('SADD', paused, id)
else
  call('LPUSH', queue, id)
end
call('PUBLISH', channel, event)
return 'OK'
