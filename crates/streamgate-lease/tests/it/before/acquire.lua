-- acquire: admits, confirms or refuses one lease. Decides by the server's clock.
--
-- KEYS   1  ZSET: lease id → expiry, unix ms      2  HASH: lease id → record
-- ARGV   1  lease id             2  ttl, ms            3  limit
--        4  tombstone life, ms   5  idle after, ms     6  longest ttl there is, ms
--        7  reusable, 0 or 1     8  anew, 0 or 1       9  about, '' keeps what is known
--        10 replace: nobody, oldest or these           11 this holder's names in notices
--        12 classes with their limits, by name, as '4k=1,live=2'
--        13 adopt: 0, 1, or 2 if there is no record of it
--        14 how long one may be over the limit, ms    15… ids of `these`
-- Returns  { 'held', now, expiry, is new, active, started at, { replaced }, { idle }, over limit }
--          { 'full', now, { { id, expiry, record }, … }, class or '', its limit }
--          { 'ended', now, why, until }
-- Cost   one to four commands if held or admitted; O(live) more when all or a class may be full;
--        every 16th record a look through all records of this holder.
-- Keeps  |live| ≤ limit and |live of a class| ≤ its limit at every admission, leases that are
--        flagged as over it left out; refused or ended changes neither set nor expiries, but that
--        one whose time over the limit is up loses its slot; takeover is all or nothing; both
--        keys always have a TTL, and it is never shortened.
--
-- Records: 'L<started>,<paused since or 0>,<reusable>,<about>' of a lease, live or expired, where
--          '/4k,live/' before the about names its classes, if it has any, and '/!<until>/' or
--          '/!<until>,4k/' says that it is over the limit, and until when; 'L0,0,1,' is the trace
--          of a reusable one that was released;
--          'T<R|T|P>,<until>,<reusable>' of one that ended: released, terminated, replaced.
local leases, records, id = KEYS[1], KEYS[2], ARGV[1]
local ttl, limit, tombstone = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local idle_after, ttl_max = tonumber(ARGV[5]), tonumber(ARGV[6])
local reusable, anew, about, replace = ARGV[7], ARGV[8] == '1', ARGV[9], ARGV[10]
local is_lost, grandfather = ARGV[13] == '2', tonumber(ARGV[14])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function keep(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, ms) end
end

local function read(record)
  local started, since, again, rest = string.match(record or '', '^L(%d+),(%d+),(%d),(.*)$')
  local classes, labels = string.match(rest or '', '^/([^/]*)/(.*)$')
  local known = { started = tonumber(started or 0), since = tonumber(since or 0),
                  reusable = again or reusable, about = labels or rest or '',
                  known = started ~= nil, classes = {}, over = 0 }
  for mark in string.gmatch(classes or '', '[^,]+') do
    local till = string.match(mark, '^!(%d+)$')
    if till then known.over = tonumber(till) else known.classes[mark] = true end
  end
  return known
end

local function names(set)
  local all = {}
  for name in pairs(set) do all[#all + 1] = name end
  table.sort(all)
  return all
end

local function write(key, known)
  local marks = names(known.classes)
  if known.over > 0 then table.insert(marks, 1, string.format('!%.0f', known.over)) end
  marks = #marks > 0 and '/' .. table.concat(marks, ',') .. '/' or ''
  redis.call('HSET', records, key, string.format('L%.0f,%.0f,%s,%s%s',
    known.started, known.since, known.reusable, marks, known.about))
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

-- What the asker was promised for longer, and of which nothing is known here, was lost.
local adopt = ARGV[13] == '1' or (is_lost and not record)
local mine = read(record ~= released and record)
local expiry = tonumber(redis.call('ZSCORE', leases, id) or 0)
local is_new = expiry == 0
local beside = redis.call('ZCARD', leases) - (is_new and 0 or 1)
local replaced, idle = {}, {}

local function full(want)
  local live = {}
  for n, other in ipairs(redis.call('ZRANGE', leases, 0, -1, 'WITHSCORES')) do
    if n % 2 == 1 then live[#live + 1] = { other }
    else
      local last = live[#live]
      last[2] = other
      last[3] = redis.call('HGET', records, last[1]) or ''
    end
  end
  return { 'full', now, live, want.class or '', want.limit }
end

-- One over the limit is within it as soon as there is a place beside those who are. One whose time
-- is up and who has none loses its slot.
local limit_of = {}
for class, most in string.gmatch(ARGV[12], '([^=,]+)=(%d+)') do limit_of[class] = tonumber(most) end

local function lacks_place()
  local wants = {}
  for _, class in ipairs(names(mine.classes)) do
    if not limit_of[class] then return { limit = limit } end
    wants[#wants + 1] = { class = class, limit = limit_of[class] }
  end
  wants[#wants + 1] = { limit = limit }
  local there = {}
  for _, other in ipairs(redis.call('ZRANGE', leases, 0, -1)) do
    local known = other ~= id and read(redis.call('HGET', records, other))
    for n, want in ipairs(known and known.over == 0 and wants or {}) do
      if not want.class or known.classes[want.class] then there[n] = (there[n] or 0) + 1 end
    end
  end
  for n, want in ipairs(wants) do
    if (there[n] or 0) >= want.limit then return want end
  end
end

if is_new then mine.classes, mine.over = {}, 0 end
local was_over = mine.over
local overdue = mine.over > 0 and mine.over <= now and lacks_place()
if overdue then
  redis.call('ZREM', leases, id)
  return full(overdue)
end

-- What there has to be room in: classes first, as whoever makes room in one makes room in all.
if is_new and is_lost and record and reusable == '1' then return full({ limit = 0 }) end
if is_new and limit < 1 then return full({ limit = limit }) end
local wants, is_tight = {}, false
for _, class in ipairs(names(limit_of)) do
  if not mine.classes[class] then
    wants[#wants + 1] = { class = class, limit = limit_of[class] }
  end
end
if #wants > 0 and #names(mine.classes) + #wants > 4 then return full(wants[1]) end
local takes_class = #wants > 0
if is_new then wants[#wants + 1] = { limit = limit } end
for _, want in ipairs(wants) do is_tight = is_tight or beside + 1 > want.limit end

if is_tight then
  local spare, busy, seat, gone = {}, {}, {}, {}
  for _, other in ipairs(redis.call('ZRANGE', leases, 0, -1)) do
    if other ~= id then
      local known = read(redis.call('HGET', records, other))
      known.id = other
      seat[other] = known
      local is_idle = known.since > 0 and now - known.since > idle_after
      local queue = is_idle and spare or busy
      queue[#queue + 1] = known
    end
  end
  local function by(field)
    return function(a, b)
      if a[field] ~= b[field] then return a[field] < b[field] end
      return a.id < b.id
    end
  end
  table.sort(spare, by('since'))
  table.sort(busy, by('started'))

  local function counted(queue, want)
    local found = {}
    for _, known in ipairs(queue) do
      if not gone[known.id] and (not want.class or known.classes[want.class]) then
        found[#found + 1] = known.id
      end
    end
    return found
  end
  -- The first want without room, or nil when there is room for all.
  local function clear(replaces)
    for _, want in ipairs(wants) do
      local of_spare, of_busy = counted(spare, want), counted(busy, want)
      local excess = #of_spare + #of_busy + 1 - want.limit
      if want.limit < 1 or (excess > #of_spare and not replaces) then return want end
      for n = 1, math.min(excess, #of_spare) do
        idle[#idle + 1] = of_spare[n]
        gone[of_spare[n]] = true
      end
      for n = 1, excess - #of_spare do
        replaced[#replaced + 1] = of_busy[n]
        gone[of_busy[n]] = true
      end
    end
  end

  local lacking = clear(replace == 'oldest')
  if lacking and replace == 'these' then
    idle, gone = {}, {}
    local all_live = true
    for n = 15, #ARGV do
      if not seat[ARGV[n]] then all_live = false end
      if not gone[ARGV[n]] then replaced[#replaced + 1] = ARGV[n] end
      gone[ARGV[n]] = true
    end
    if all_live then lacking = clear(false) end
  end
  if lacking then
    if not adopt or limit < 1 or grandfather < 1 then return full(lacking) end
    idle, replaced = {}, {}
    if mine.over == 0 then mine.over = now + grandfather end
  end

  for _, other in ipairs(idle) do redis.call('ZREM', leases, other) end
  for _, other in ipairs(replaced) do
    local life = seat[other].reusable == '1' and ttl or tombstone
    redis.call('ZREM', leases, other)
    redis.call('HSET', records, other,
      string.format('TP,%.0f,%s', now + life, seat[other].reusable))
    tell(ARGV[11], other)
  end
end
if is_new then mine.started = now end
for _, want in ipairs(wants) do
  if want.class then mine.classes[want.class] = true end
end

if mine.over > 0 and not lacks_place() then mine.over = 0 end

expiry = math.max(expiry, now + ttl)
redis.call('ZADD', leases, expiry, id)
local is_changed = is_new or anew or takes_class or mine.over ~= was_over
if is_changed or about ~= '' or not mine.known then
  if about ~= '' then mine.about = about end
  if anew then mine.since = 0 end
  write(id, mine)
end
keep(leases, 64 * ttl)
keep(records, math.max(tombstone, 64 * ttl))

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
         replaced, idle, mine.over > 0 and 1 or 0 }
