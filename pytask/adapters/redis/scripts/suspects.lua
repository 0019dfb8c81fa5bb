-- Read the runs of suspicious leases for a monitor.
--
-- Returns for each id: its run ('' for none), epoch and crashes of its hash.
--
-- For a run missing from the registry, the hash that names it is used: a living owner registers it again at its
-- next renewal, which also renews the lease; the run of a dead one would otherwise remain forever.
--
-- Returns numbers instead of the fields: a client may have written hundreds of megabytes there.
--- include: names, whole, number, plausible
local reply = {}
if #ids == 0 then return reply end
for i, run in ipairs(call('HMGET', runs, unpack(ids))) do
  local h = pcall('HMGET', hashes[i], 'epoch', 'crashes', 'run', 'state')
  if h.err then h = {} end
  if not run and h[4] == running and plausible(h[3]) then run = h[3] end
  reply[3 * i - 2] = run or ''
  reply[3 * i - 1] = whole(number(h[1]))
  reply[3 * i] = whole(number(h[2]))
end
return reply
