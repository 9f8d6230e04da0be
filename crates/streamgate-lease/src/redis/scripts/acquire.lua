-- acquire: admits, confirms or refuses one lease. Decides by the server's clock.
--
-- KEYS   1  ZSET: lease id → expiry, unix ms      2  HASH: lease id → record
-- ARGV   1  lease id             2  ttl, ms            3  limit
--        4  tombstone life, ms   5  idle after, ms     6  longest ttl there is, ms
--        7  reusable, 0 or 1     8  anew, 0 or 1       9  about, '' keeps what is known
--        10 replace: nobody, oldest or these           11 this holder's names in notices
--        12 classes with their limits, by name, as '4k=1,live=2'
--        13 adopt: 0, 1, or 2 if there is no record of it     14 how long one may be over the limit, ms
--        15 login or ''          16 by: request, reservation or node     17 path or ''
--        18 displaces: older, marked or nobody         19 starts, 0 or 1
--        20 ticket: '<use by>,<ends at>' or ''         21… ids of `these`
-- Returns  { 'held', now, expiry, is new, active, started at, { replaced }, { idle }, over limit,
--            id, expiry if it is the first of its stream that is let pass or 0, id made at or 0,
--            { superseded }, { marked }, ttl }
--          { 'full', now, { { id, expiry, record }, … }, class or '', its limit }
--          { 'ended', now, why, until }
-- Cost   nine to eleven commands if held, two more if admitted; one or two more with a path; one and
--        two for each other live one when a start displaces others, or all or a class may be full;
--        every 16th field a look through all fields of this holder. No command that the script did
--        not use before there were logins, so rights that were given to a gateway still do.
-- Keeps  |live| ≤ limit and |live of a class| ≤ its limit at every admission, leases that are
--        flagged as over it left out; refused or ended changes neither set nor expiries, but that
--        one whose time over the limit is up loses its slot; takeover is all or nothing; nobody is
--        superseded who is neither marked nor an older one of this login; both keys always have a
--        TTL, and it is never shortened.
--
-- Records: 'L<started>,<paused since or 0>,<reusable>,<about>' of a lease, live or expired, where
--          '/4k,live/' before the about names its classes, if it has any, and '/!<until>/' or
--          '/!<until>,4k/' says that it is over the limit, and until when; 'L0,0,1,' is the trace
--          of a reusable one that was released;
--          'T<R|T|P>,<until>,<kind>' of one that ended: released, terminated, replaced; kind is 1 if
--          it is reusable and 0 if not, and 2 more if it was superseded, which is of letter P.
-- Beside them, in fields that a gateway from before this does not know and leaves alone, until there
--        are 32 fields and it clears away what is neither live nor an ending:
--          '+<lease id>' → '<login>,<path>,<ttl>,<requests let pass: 0, 1 or 2>,<marked at or 0>,
--          <began anew at or 0>,<started>', which outlives the slot;
--          '@<login>' → when it displaced what it had: unix ms, and the others in ms after that;
--          '!<lease id>' → until when its ticket is known to have been used in time;
--          '=<login><path>' → '<lease id>,<made at>,<until>', the login's last start there.
local leases, records, id = KEYS[1], KEYS[2], ARGV[1]
local ttl, limit, tombstone = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local idle_after, ttl_max = tonumber(ARGV[5]), tonumber(ARGV[6])
local reusable, anew, about, replace = ARGV[7], ARGV[8] == '1', ARGV[9], ARGV[10]
local is_lost, grandfather = ARGV[13] == '2', tonumber(ARGV[14])
local login, by, path, displaces, starts = ARGV[15], ARGV[16], ARGV[17], ARGV[18], ARGV[19] == '1'
-- As in admission.rs: a renewal so much younger than a mark voids it; so many starts in a minute
-- displace older ones; a superseded id begins anew once in so long. And so many tries and tickets
-- are kept.
local void_after, starts_max, minute, anew_every, tries_max = 1000, 30, 60000, 10000, 64
local tickets_max = 64
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

local function record_text(known)
  local marks = names(known.classes)
  if known.over > 0 then table.insert(marks, 1, string.format('!%.0f', known.over)) end
  marks = #marks > 0 and '/' .. table.concat(marks, ',') .. '/' or ''
  return string.format('L%.0f,%.0f,%s,%s%s',
    known.started, known.since, known.reusable, marks, known.about)
end

local function read_tie(text)
  local of, at, life, passes, marked, began, started =
    string.match(text or '', '^([^,]*),([^,]*),(%d+),(%d),(%d+),(%d+),(%d+)$')
  return { login = of or '', path = at or '', ttl = tonumber(life or 0),
           passes = tonumber(passes or 2), marked = tonumber(marked or 0),
           anew = tonumber(began or 0), started = tonumber(started or 0) }
end

local function tie_text(tie)
  return string.format('%s,%s,%.0f,%d,%.0f,%.0f,%.0f', tie.login, tie.path, tie.ttl, tie.passes,
    tie.marked, tie.anew, tie.started)
end

-- Silent since a later playback of its login began.
local function is_passed(tie, expiry)
  return tie.marked > 0 and expiry - tie.ttl <= tie.marked + void_after
end

-- What a start is a retry of: that was given back, so nothing is known of it.
local born
if path ~= '' and login ~= '' and by ~= 'node' then
  local last, made, till = string.match(
    redis.call('HGET', records, '=' .. login .. path) or '', '^([^,]+),(%d+),(%d+)$')
  if last and now < tonumber(till) then
    local known = redis.call('HGET', records, last)
    if not known or known == released then id, born = last, tonumber(made) end
  end
end

local record, tied = redis.call('HGET', records, id), redis.call('HGET', records, '+' .. id)
local tie = read_tie(tied)
local why, till, kind = string.match(record or '', '^T(%a),(%d+),(%d)$')
local is_superseded = kind == '2' or kind == '3'
if why and now < tonumber(till) then
  local lifts = kind == '1' and anew
  if is_superseded then lifts = starts and (tie.anew == 0 or tie.anew + anew_every <= now) end
  if not lifts then return { 'ended', now, is_superseded and 'S' or why, tonumber(till) } end
  if is_superseded then tie.anew = now end
end

redis.call('ZREMRANGEBYSCORE', leases, '-inf', now)
-- With GT, the score of a gateway whose clock is wrong would stay; this cuts it to the maximum.
for _, far in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. (now + ttl_max), '+inf')) do
  redis.call('ZADD', leases, now + ttl_max, far)
end

-- A lease that the gateway holds to be live, and of which there is no record here, was lost.
local adopt = ARGV[13] == '1' or (is_lost and not record)
local mine = read(record ~= released and record)
local expiry = tonumber(redis.call('ZSCORE', leases, id) or 0)
local is_new = expiry == 0
-- A ticket lets its stream begin if it was used in time before, or this is its first use.
local use_by, ticket_ends = string.match(ARGV[20], '^(%d+),(%d+)$')
if use_by and is_new and by ~= 'node' then
  local used = tonumber(redis.call('HGET', records, '!' .. id) or 0)
  if used <= now and tonumber(use_by) <= now then return { 'ended', now, 'U', now } end
end
-- The longest ttl that its stream was given stays with it.
if not is_new then ttl = math.max(ttl, math.min(tie.ttl, ttl_max)) end
local beside = redis.call('ZCARD', leases) - (is_new and 0 or 1)
local was_passed = not is_new and is_passed(tie, expiry)
local replaced, idle, superseded, marked, gone = {}, {}, {}, {}, {}

-- When this login displaced what it had, within a minute.
local log, first_start = {}, nil
local logged = login ~= '' and redis.call('HGET', records, '@' .. login)
for n in string.gmatch(logged or '', '%d+') do
  local at = (first_start or 0) + tonumber(n)
  first_start = first_start or at
  if now < at + minute then log[#log + 1] = at end
end
local is_displacing = is_new and by ~= 'node' and displaces == 'older' and login ~= ''
  and #log < starts_max
if displaces == 'nobody' then replace = 'nobody' end

-- In pieces that fit on Lua's stack.
local function in_pieces(command, all)
  local sum = 0
  for from = 1, #all, 200 do
    sum = sum + redis.call(command, records, unpack(all, from, math.min(from + 199, #all)))
  end
  return sum
end

-- All others that are seated, and what is known of each.
local seats
local function others()
  if seats then return seats end
  seats = {}
  local scores = redis.call('ZRANGE', leases, 0, -1, 'WITHSCORES')
  for n = 1, #scores, 2 do
    local other, ends = scores[n], tonumber(scores[n + 1])
    if other ~= id then
      local seat = read(redis.call('HGET', records, other))
      seat.id, seat.tie = other, read_tie(redis.call('HGET', records, '+' .. other))
      seat.alive = math.max(ends - seat.tie.ttl, 0)
      seat.is_passed = is_passed(seat.tie, ends)
      seat.is_older = is_displacing and seat.tie.login == login
      seats[#seats + 1] = seat
    end
  end
  return seats
end

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

-- A lease over the limit counts as within it as soon as there is room beside the leases within it.
-- If its time over the limit is up and there is no room, it loses its slot.
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

-- The limits that need room: classes first, because room made in a class is room for all.
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
  local yielding, spare, busy, seat = {}, {}, {}, {}
  for _, known in ipairs(others()) do
    seat[known.id] = known
    local is_idle = known.since > 0 and now - known.since > idle_after
    local queue = busy
    if displaces ~= 'nobody' then
      if known.is_passed or known.is_older then queue = yielding
      elseif is_idle then queue = spare end
    end
    queue[#queue + 1] = known
  end
  local function by_field(field)
    return function(a, b)
      if a[field] ~= b[field] then return a[field] < b[field] end
      return a.id < b.id
    end
  end
  local by_silence = by_field('alive')
  table.sort(yielding, function(a, b)
    if a.is_passed ~= b.is_passed then return a.is_passed end
    return by_silence(a, b)
  end)
  table.sort(spare, by_field('since'))
  table.sort(busy, by_field('started'))

  local function counted(queue, want)
    local found = {}
    for _, known in ipairs(queue) do
      if not gone[known.id] and (not want.class or known.classes[want.class]) then
        found[#found + 1] = known.id
      end
    end
    return found
  end
  local function take(from, into, most)
    for n = 1, math.min(most, #from) do
      into[#into + 1] = from[n]
      gone[from[n]] = true
    end
    return most - #from
  end
  -- Makes room. Returns the first limit without room, or nil.
  local function clear(replaces)
    for _, want in ipairs(wants) do
      local of_yielding, of_spare, of_busy =
        counted(yielding, want), counted(spare, want), counted(busy, want)
      local excess = #of_yielding + #of_spare + #of_busy + 1 - want.limit
      local of_others = excess - #of_yielding - #of_spare
      if want.limit < 1 or (of_others > 0 and not replaces) then return want end
      take(of_busy, replaced, take(of_spare, idle, take(of_yielding, superseded, excess)))
    end
  end

  local lacking = clear(replace == 'oldest')
  if lacking and replace == 'these' then
    superseded, idle, gone = {}, {}, {}
    local all_live = true
    for n = 21, #ARGV do
      if not seat[ARGV[n]] then all_live = false end
      if not gone[ARGV[n]] then replaced[#replaced + 1] = ARGV[n] end
      gone[ARGV[n]] = true
    end
    if all_live then lacking = clear(false) end
  end
  if lacking then
    if not adopt or limit < 1 or grandfather < 1 then return full(lacking) end
    superseded, idle, replaced, gone = {}, {}, {}, {}
    if mine.over == 0 then mine.over = now + grandfather end
  end

  local function bury(other, life, kind_of)
    redis.call('ZREM', leases, other)
    redis.call('HSET', records, other, string.format('TP,%.0f,%d', now + life, kind_of))
    tell('sg:ended', ARGV[11], other)
  end
  -- Its player comes back within its own ttl, not within that of whoever ends it.
  local function brief(other)
    return seat[other].tie.ttl > 0 and math.min(seat[other].tie.ttl, ttl_max) or ttl
  end
  for _, other in ipairs(idle) do redis.call('ZREM', leases, other) end
  for _, other in ipairs(replaced) do
    local again = seat[other].reusable == '1'
    bury(other, again and brief(other) or tombstone, again and 1 or 0)
  end
  for _, other in ipairs(superseded) do
    bury(other, brief(other), seat[other].reusable == '1' and 3 or 2)
  end
end

-- What is written beside the sets, at once at the end.
local fields = {}
local function put(field, value)
  fields[#fields + 1] = field
  fields[#fields + 1] = value
end
if is_displacing then
  for _, other in ipairs(beside > 0 and others() or {}) do
    if other.is_older and not other.is_passed and not gone[other.id] then
      marked[#marked + 1] = other.id
      other.tie.marked = now
      put('+' .. other.id, tie_text(other.tie))
      tell('sg:marked', ARGV[11], other.id .. ' marked')
    end
  end
  log[#log + 1] = now
  local first_kept = log[1]
  for n = 2, #log do log[n] = string.format('%.0f', log[n] - first_kept) end
  log[1] = string.format('%.0f', first_kept)
  put('@' .. login, table.concat(log, ','))
end
if is_new then mine.started = now end
if is_new and use_by then put('!' .. id, ticket_ends) end
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
  put(id, record_text(mine))
end

if is_new then
  tie.passes, tie.marked = by == 'node' and 2 or 0, 0
elseif tie.started ~= mine.started then
  tie.passes = 2 -- others have let it pass who do not count
end
if by == 'request' then
  tie.passes, tie.marked = math.min(tie.passes + 1, 2), 0
elseif by == 'node' and was_passed then
  tie.marked = now -- it gets a ttl from now, and its player is as silent as before
end
tie.started = mine.started
if login ~= '' then tie.login = login end
if path ~= '' then tie.path = path end
if expiry == now + ttl then tie.ttl = ttl end
if tie_text(tie) ~= tied then put('+' .. id, tie_text(tie)) end
if path ~= '' and login ~= '' then
  born = born or now
  put('=' .. login .. path, string.format('%s,%.0f,%.0f', id, born, now + ttl))
end
local added = in_pieces('HSET', fields)
keep(leases, 64 * ttl)
keep(records, math.max(tombstone, 64 * ttl, is_new and use_by and tonumber(ticket_ends) - now or 0))

local kept = redis.call('HLEN', records)
if kept >= 32 and math.floor((kept - added) / 16) < math.floor(kept / 16) then
  local stones, tries, tickets = {}, {}, {}
  local needed, dead, all = {}, {}, redis.call('HGETALL', records)
  for n = 1, #all, 2 do
    local field, value = all[n], all[n + 1]
    local mark = string.sub(field, 1, 1)
    if mark == '@' then
      local young = false
      local at
      for ms in string.gmatch(value, '%d+') do
        if not at then young = now < tonumber(ms) + minute else young = young or now < at + tonumber(ms) + minute end
        at = at or tonumber(ms)
      end
      if not young then dead[#dead + 1] = field end
    elseif mark == '=' then
      tries[#tries + 1] = { id = field, until_ms = tonumber(string.match(value, '(%d+)$')) }
    elseif mark == '!' then
      tickets[#tickets + 1] = { id = field, until_ms = tonumber(value) }
    elseif mark ~= '+' then
      local letter, ends, sort = string.match(value, '^T(%a),(%d+),(%d)$')
      if letter and now < tonumber(ends) then
        local rank = tonumber(sort) > 1 and 0 or letter == 'R' and 1 or 2
        stones[#stones + 1] = { id = field, until_ms = tonumber(ends), rank = rank }
        needed[field] = true
      elseif letter or not redis.call('ZSCORE', leases, field) then
        dead[#dead + 1] = field
      else
        needed[field] = true
      end
    end
  end
  for n = 1, #all, 2 do
    if string.sub(all[n], 1, 1) == '+' and not needed[string.sub(all[n], 2)] then
      dead[#dead + 1] = all[n]
    end
  end
  table.sort(stones, function(a, b)
    if a.rank ~= b.rank then return a.rank < b.rank end
    return a.until_ms < b.until_ms
  end)
  local function fading(a, b) return a.until_ms < b.until_ms end
  table.sort(tries, fading)
  table.sort(tickets, fading)
  for n = 1, #stones - 1024 do dead[#dead + 1] = stones[n].id end
  local function forget(all, most)
    for n = 1, #all do
      if all[n].until_ms <= now or n <= #all - most then dead[#dead + 1] = all[n].id end
    end
  end
  forget(tries, tries_max)
  forget(tickets, tickets_max)
  in_pieces('HDEL', dead)
end
return { 'held', now, expiry, is_new and 1 or 0, redis.call('ZCARD', leases), mine.started,
         replaced, idle, mine.over > 0 and 1 or 0, id,
         by == 'request' and tie.passes == 1 and expiry or 0, born or 0, superseded, marked,
         tie.ttl > 0 and math.min(tie.ttl, ttl_max) or ttl }
