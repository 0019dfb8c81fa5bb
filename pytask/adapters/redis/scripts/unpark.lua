-- Forget the name of a function whose parking list is empty.
--
-- Returns 0 or 1.
--- include: names
if call('LLEN', parking) > 0 then return 0 end
return call('SREM', parked, func)
