-- Tell that runs were paused, or resumed, by their owner.
--
-- Returns for each FENCED, GONE, or the word that holds for the run now: `pause` or `start`.
--
-- Where that is another word than the owner's, it was resumed or paused again meanwhile, and nothing is done here.  Else
-- the request is removed if it is still that word; the first call that finds it so publishes the event.
-- Begins with a write that needs no memory (see renew.lua).
--- include: names, time, ids, fence, history
call('HDEL', runs, '')
local reply = {}
for i, hash in ipairs(hashes) do
  local id, run, word = ids[i], live_runs[i], told[i]
  local held = call('HGET', runs, id)
  local h = pcall('HMGET', hash, 'run', 'control', 'paused', 'history')
  local stranger = fence(run, held, h[1])
  if stranger then
    reply[i] = stranger
  else
    local wanted = h[3] and pause_word or start_word
    if wanted == word and h[2] == word then
      local pausing = word == pause_word
      call('HDEL', hash, 'control')
      call('HSET', hash, 'last_update', now, noted(h[4], pausing and paused_line or resumed_line))
      call('PUBLISH', channel .. id, pausing and paused_event or resumed_event)
    end
    reply[i] = wanted
  end
end
return reply
