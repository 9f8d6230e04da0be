-- acquire: admits, confirms or refuses one lease. Decides by the server's clock.
--
-- KEYS   1  ZSET: lease id → expiry, unix ms      2  HASH: lease id → record
-- ARGV   1  lease id             2  ttl, ms            3  limit
--        4  tombstone life, ms   5  idle after, ms     6  longest ttl there is, ms
--        7  reusable, 0 or 1     8  anew, 0 or 1       9  about, '' keeps what is known
--        10 replace: nobody, oldest or these           11 this holder, as notices name it
--        12… the ids of `these`
-- Returns  { 'held', now, expiry, is new, active, started at, { replaced }, { idle } }
--          { 'full', now, { { id, expiry, record }, … } }   or   { 'ended', now, why, until }
-- Cost   one to four commands if held or admitted; O(live) more when full; every 16th record a
--        look through all records of this holder.
-- Keeps  |live| ≤ limit at every admission; refused or ended changes neither set nor expiries;
--        takeover is all or nothing; both keys always have a TTL, and it is never shortened.
--
-- Records: 'L<started>,<paused since or 0>,<reusable>,<about>' of a lease, live or expired;
--          'T<R|T|P>,<until>,<reusable>' of one that ended: released, terminated, replaced.
local leases, records, id = KEYS[1], KEYS[2], ARGV[1]
local ttl, limit, tombstone = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local idle_after, ttl_max = tonumber(ARGV[5]), tonumber(ARGV[6])
local reusable, anew, about, replace = ARGV[7], ARGV[8] == '1', ARGV[9], ARGV[10]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function keep(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, ms) end
end

local function read(record)
  local started, since, again, rest = string.match(record or '', '^L(%d+),(%d+),(%d),(.*)$')
  return { started = tonumber(started or 0), since = tonumber(since or 0),
           reusable = again or reusable, about = rest or '', known = started ~= nil }
end

local function write(key, known)
  redis.call('HSET', records, key, string.format('L%.0f,%.0f,%s,%s',
    known.started, known.since, known.reusable, known.about))
end

local record = redis.call('HGET', records, id)
local why, till, again = string.match(record or '', '^T(%a),(%d+),(%d)$')
if why and now < tonumber(till) and not (again == '1' and anew) then
  return { 'ended', now, why, tonumber(till) }
end

redis.call('ZREMRANGEBYSCORE', leases, '-inf', now)
-- GT makes the score of a node with a broken clock stick; this cuts it down to what is possible.
for _, far in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. (now + ttl_max), '+inf')) do
  redis.call('ZADD', leases, now + ttl_max, far)
end

local mine = read(record)
local expiry = tonumber(redis.call('ZSCORE', leases, id) or 0)
local is_new = expiry == 0
local replaced, idle = {}, {}

if is_new then
  local excess = redis.call('ZCARD', leases) + 1 - limit
  if limit < 1 then excess = math.huge end
  if excess > 0 then
    local others, seat = {}, {}
    for _, other in ipairs(redis.call('ZRANGE', leases, 0, -1)) do
      local known = read(redis.call('HGET', records, other))
      known.id = other
      others[#others + 1] = known
      seat[other] = known
      known.idle = known.since > 0 and now - known.since > idle_after
    end
    local function by(field)
      return function(a, b)
        if a[field] ~= b[field] then return a[field] < b[field] end
        return a.id < b.id
      end
    end
    local spare, rest = {}, {}
    for _, known in ipairs(others) do
      if known.idle then spare[#spare + 1] = known else rest[#rest + 1] = known end
    end
    table.sort(spare, by('since'))
    table.sort(rest, by('started'))

    local fits = #spare >= excess
    if not fits and limit > 0 and replace == 'oldest' then
      fits = true
      for n = 1, excess - #spare do replaced[n] = rest[n].id end
    elseif not fits and limit > 0 and replace == 'these' then
      local named, all_live = {}, true
      for n = 12, #ARGV do
        if not seat[ARGV[n]] then all_live = false end
        if not named[ARGV[n]] then
          named[ARGV[n]] = true
          replaced[#replaced + 1] = ARGV[n]
        end
      end
      local left = {}
      for _, known in ipairs(spare) do
        if not named[known.id] then left[#left + 1] = known end
      end
      spare = left
      fits = all_live and #spare >= excess - #replaced
    end
    if not fits then
      local live = {}
      for n, other in ipairs(redis.call('ZRANGE', leases, 0, -1, 'WITHSCORES')) do
        if n % 2 == 1 then live[#live + 1] = { other }
        else
          local last = live[#live]
          last[2] = other
          last[3] = redis.call('HGET', records, last[1]) or ''
        end
      end
      return { 'full', now, live }
    end
    for n = 1, excess - #replaced do idle[n] = spare[n].id end
    for _, gone in ipairs(idle) do redis.call('ZREM', leases, gone) end
    for _, gone in ipairs(replaced) do
      local life = seat[gone].reusable == '1' and ttl or tombstone
      redis.call('ZREM', leases, gone)
      redis.call('HSET', records, gone,
        string.format('TP,%.0f,%s', now + life, seat[gone].reusable))
      redis.pcall('PUBLISH', 'sg:ended', ARGV[11] .. ' ' .. gone)
    end
  end
  mine.started = now
end

expiry = math.max(expiry, now + ttl)
redis.call('ZADD', leases, expiry, id)
if is_new or anew or about ~= '' or not mine.known then
  if about ~= '' then mine.about = about end
  if anew then mine.since = 0 end
  write(id, mine)
end
keep(leases, 4 * ttl)
keep(records, math.max(tombstone, 16 * ttl))

local kept = redis.call('HLEN', records)
if is_new and kept >= 32 and kept % 16 == 0 then
  local stones, all = {}, redis.call('HGETALL', records)
  for n = 1, #all, 2 do
    local kind, ends = string.match(all[n + 1], '^T(%a),(%d+)')
    if kind and now < tonumber(ends) then
      stones[#stones + 1] = { id = all[n], until_ms = tonumber(ends), released = kind == 'R' }
    elseif kind or not redis.call('ZSCORE', leases, all[n]) then
      redis.call('HDEL', records, all[n])
    end
  end
  table.sort(stones, function(a, b)
    if a.released ~= b.released then return a.released end
    return a.until_ms < b.until_ms
  end)
  for n = 1, #stones - 1024 do redis.call('HDEL', records, stones[n].id) end
end
return { 'held', now, expiry, is_new and 1 or 0, redis.call('ZCARD', leases), mine.started,
         replaced, idle }
