-- give_back: frees the slot of a start that failed, unless anything else of it was let pass.
--
-- KEYS   1  ZSET: lease id → expiry, unix ms      2  HASH: lease id → record (see acquire.lua)
-- ARGV   1  lease id   2  its version: the expiry that it had when its first request was let pass; ''
--        if nobody had an answer     3  how many requests were let pass then, 0 or 1
-- Returns  1 if it was freed, else 0
-- Cost   three to six commands.
-- Keeps  a lease that anybody else has confirmed or renewed since is not touched; of one that was
--        given back no record is left, so it may begin again; a retry of its path is told its id.
local leases, records, id = KEYS[1], KEYS[2], ARGV[1]
local expiry = redis.call('ZSCORE', leases, id)
if not expiry then return 0 end
if ARGV[2] ~= '' and tonumber(expiry) ~= tonumber(ARGV[2]) then return 0 end
local record, tie = redis.call('HGET', records, id), redis.call('HGET', records, '+' .. id)
local login, path, ttl, passes, started =
  string.match(tie or '', '^([^,]*),([^,]*),(%d+),(%d),%d+,%d+,(%d+)$')
if passes ~= ARGV[3] or started ~= string.match(record or '', '^L(%d+),') then return 0 end

redis.call('ZREM', leases, id)
redis.call('HDEL', records, id)
if path ~= '' and login ~= '' then
  local field = '=' .. login .. path
  local last, made = string.match(redis.call('HGET', records, field) or '', '^([^,]+),(%d+),%d+$')
  if last == id then
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    redis.call('HSET', records, field, string.format('%s,%s,%.0f', id, made, now + tonumber(ttl)))
  end
end
return 1
