-- count_failure: one more order has failed.
--
-- KEYS   1  STRING: how many failed in a row
-- ARGV   1  how long they are remembered, ms
-- Returns  how many there are now
-- Cost   two commands.
-- Keeps  the count never lives without a TTL.
local count = (tonumber(redis.call('GET', KEYS[1]) or '0') or 0) + 1
redis.call('SET', KEYS[1], count, 'PX', ARGV[1])
return count
