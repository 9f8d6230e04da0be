-- end: releases or terminates one lease, live or expired. Idempotent.
--
-- KEYS   1  ZSET: lease id → expiry, unix ms      2  HASH: lease id → record (see acquire.lua)
-- ARGV   1  lease id   2  R to release, T to terminate   3  ttl, ms   4  tombstone life, ms
--        5  this holder's names in notices
-- Returns  1 if there was something to end, else 0
-- Cost   three to six commands.
-- Keeps  the slot is free when this returns; an ended id stays ended for its tombstone's life;
--        a reusable id that is released leaves an empty record, which says that it was not lost,
--        and is told for one ttl of its own if terminated.
local leases, records, id, verb = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local record = redis.call('HGET', records, id)
if record and string.sub(record, 1, 1) == 'T' then return 0 end
local seated = redis.call('ZREM', leases, id)
if (not record or record == released) and seated == 0 then return 0 end

-- Without a record nobody knows whether the id is reusable; then the tombstone lives for one ttl.
local reusable = record and string.match(record, '^L%d+,%d+,(%d)') or '1'
if record and verb == 'R' and reusable == '1' then
  redis.call('HSET', records, id, released)
  return 1
end
local life = tonumber(ARGV[4])
if reusable == '1' then
  local tie = redis.call('HGET', records, '+' .. id) or ''
  local ttl = tonumber(string.match(tie, '^[^,]*,[^,]*,(%d+),') or 0)
  life = ttl > 0 and ttl or tonumber(ARGV[3])
end
redis.call('HSET', records, id, string.format('T%s,%.0f,%s', verb, now + life, reusable))
if redis.call('PTTL', records) < life then redis.call('PEXPIRE', records, life) end
if verb == 'T' then tell('sg:ended', ARGV[5], id) end
return 1
