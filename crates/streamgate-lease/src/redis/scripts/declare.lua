-- declare: notes that a live lease is paused, and since when, or that it plays again.
--
-- KEYS   1  ZSET: lease id → expiry, unix ms      2  HASH: lease id → record (see acquire.lua)
-- ARGV   1  lease id   2  paused, 0 or 1
-- Returns  1 if the lease is live, else 0
-- Cost   three or four commands.
-- Keeps  no expiry moves; a pause that is declared again keeps its beginning; an expired lease
--        is not touched.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expiry = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not expiry or tonumber(expiry) <= now then return 0 end

local record = redis.call('HGET', KEYS[2], ARGV[1])
local started, since, rest = string.match(record or '', '^L(%d+),(%d+),(.*)$')
if started then
  if ARGV[2] == '0' then since = 0 elseif since == '0' then since = now end
  redis.call('HSET', KEYS[2], ARGV[1], string.format('L%s,%.0f,%s', started, since, rest))
end
return 1
