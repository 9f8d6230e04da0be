-- revoke: the sessions of an account that began until now are over. Idempotent.
--
-- KEYS   1  STRING: when, in seconds since 1970
-- ARGV   1  how long it is remembered, ms
-- Returns  when, in seconds since 1970, by the store's clock
-- Cost   three commands.
-- Keeps  the time never goes back, not even with a server's clock; no key lives without a TTL.
local now = tonumber(redis.call('TIME')[1])
local before = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
local at = math.max(now, before)
redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', ARGV[1])
return at
