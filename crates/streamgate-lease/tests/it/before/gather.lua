-- gather: stands before every script. While a pepper is being changed, a holder has two names, and
-- gateways may disagree on which is the current one. Whatever lies under the other name comes under
-- this one's first, so that the script then finds all of it in one place.
--
-- KEYS   1, 2  leases and records of the current name     3, 4  of the other name, if there is one
-- ARGV   none of its own
-- Returns  nothing: the script follows
-- Cost   nothing without another name, one EXISTS if nothing lies under it; a RENAME or two when all
--        of it does; else O(what lies there).
-- Keeps  no expiry moves back, no TTL is shortened; what has ended under either name has ended.

-- The trace of a reusable lease that was released: it says that it was not lost, and nothing else.
local released = 'L0,0,1,'

-- Publishes under all names of a holder that one of its leases was ended.
local function tell(names, id)
  for name in string.gmatch(names, '%S+') do
    redis.pcall('PUBLISH', 'sg:ended', name .. ' ' .. id)
  end
end

local function merge_record(id, other)
  local mine = redis.call('HGET', KEYS[2], id)
  local ends, ended = string.match(other, '^T%a,(%d+)'), string.match(mine or '', '^T%a,(%d+)')
  if not mine or (ends and not ended) or (ends and tonumber(ended) < tonumber(ends)) then
    redis.call('HSET', KEYS[2], id, other)
  end
end

local function gather_records()
  if redis.call('EXISTS', KEYS[2]) == 0 then return redis.call('RENAME', KEYS[4], KEYS[2]) end
  local all = redis.call('HGETALL', KEYS[4])
  for n = 1, #all, 2 do merge_record(all[n], all[n + 1]) end
end

local function gather_leases()
  if redis.call('EXISTS', KEYS[1]) == 0 then return redis.call('RENAME', KEYS[3], KEYS[1]) end
  local all = redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')
  for n = 1, #all, 2 do redis.call('ZADD', KEYS[1], 'GT', all[n + 1], all[n]) end
end

local function keep_longer(into, from_ttl)
  if redis.call('PTTL', into) < from_ttl then redis.call('PEXPIRE', into, from_ttl) end
end

if KEYS[3] and redis.call('EXISTS', KEYS[3], KEYS[4]) > 0 then
  local leases_ttl, records_ttl = redis.call('PTTL', KEYS[3]), redis.call('PTTL', KEYS[4])
  if records_ttl ~= -2 then
    gather_records()
    keep_longer(KEYS[2], records_ttl)
  end
  if leases_ttl ~= -2 then
    gather_leases()
    keep_longer(KEYS[1], leases_ttl)
  end
  redis.call('DEL', KEYS[3], KEYS[4])
  for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    local record = redis.call('HGET', KEYS[2], id)
    if record and string.sub(record, 1, 1) == 'T' then redis.call('ZREM', KEYS[1], id) end
  end
end

