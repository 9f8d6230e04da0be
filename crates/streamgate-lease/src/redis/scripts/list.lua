-- list: the live leases of one holder. Writes nothing itself.
--
-- KEYS   1  ZSET: lease id → expiry, unix ms      2  HASH: lease id → record (see acquire.lua)
-- ARGV   none
-- Returns  { now, { { id, expiry, record or '' }, … } }
-- Cost   O(live).
-- Keeps  what has expired is not shown, whether or not it has been cleared away.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local live = {}
for n, part in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES')) do
  if n % 2 == 1 then
    live[#live + 1] = { part, 0, redis.call('HGET', KEYS[2], part) or '' }
  else
    live[#live][2] = part
  end
end
return { now, live }
