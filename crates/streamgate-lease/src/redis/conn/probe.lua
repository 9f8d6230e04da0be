-- probe: what a start does, so that it fails where starts fail; and it changes nothing.
--
-- KEYS   1  a key that nobody uses, in a slot of this server
-- ARGV   none
-- Returns  1
-- Cost   two commands.
-- Keeps  XX adds no member, so the key is never made.
redis.call('TIME')
redis.call('ZADD', KEYS[1], 'XX', 0, 'probe')
return 1
