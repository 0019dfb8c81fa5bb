-- Delete a schedule, with what is known of its occurrences.  Its task stays as it is.
--
-- Returns OK or NOHASH.
--- include: names
local gone = call('DEL', schedule) + call('ZREM', schedules, name)
call('DEL', occurrences)
return gone > 0 and 'OK' or 'NOHASH'
