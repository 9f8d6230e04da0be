-- take: takes units of several rates of one key at once, of all of them or of none.
--
-- KEYS   one for each rate: a bucket is a STRING, the time at which it is full, in µs since EPOCH; a
--        window is a HASH: number of a slice → units taken in it
-- ARGV   six for each key:   1  'B' a bucket, 'W' a window   2  limit   3  its span, µs   4  burst
--        5  units; below zero they are given back   6  units that were taken elsewhere meanwhile
-- Returns  four for each key: 1 or 0, whether this rate has them; units that are left; µs until there
--        is one more; µs until the units could be taken
-- Cost   a command or two for each key, and two to write; a window has 17 fields at most.
-- Keeps  what is taken of all was there in all. A key ends when it is as if nobody had asked. A clock
--        that is set back costs nobody more than a whole burst.
local EPOCH, SLICES = 1767225600, 16
local time = redis.call('TIME')
local now = (time[1] - EPOCH) * 1000000 + time[2]

local function bucket(rate)
  local unit = rate.span / rate.limit
  rate.most = now + rate.burst * unit
  local full = math.max(now, tonumber(redis.call('GET', rate.key) or '0'))
  rate.full = math.min(full + rate.debt * unit, rate.most)
  rate.wait = rate.full + rate.units * unit - rate.most
  rate.write = function(units)
    rate.full = math.max(now, rate.full + units * unit)
    if rate.full <= now then return redis.call('DEL', rate.key) end
    local ms = math.ceil((rate.full - now) / 1000) + 1
    redis.call('SET', rate.key, string.format('%.3f', rate.full), 'PX', string.format('%.0f', ms))
  end
  rate.left = function()
    local room = rate.most - rate.full
    local left = math.floor(room / unit + 0.001)
    if rate.full <= now then return left, 0 end
    return left, (left + 1) * unit - room
  end
end

local function window(rate)
  local slice = math.ceil(rate.span / SLICES)
  local newest = math.floor(now / slice)
  local taken, used, stored = {}, rate.debt, redis.call('HGETALL', rate.key)
  for at = 1, #stored, 2 do
    local number, units = tonumber(stored[at]), tonumber(stored[at + 1])
    if newest < number then number = newest end
    if newest - SLICES <= number then
      taken[number] = (taken[number] or 0) + units
      used = used + units
    end
  end
  taken[newest] = (taken[newest] or 0) + rate.debt
  local function until_gone(units)
    local gone = 0
    for number = newest - SLICES, newest do
      gone = gone + (taken[number] or 0)
      if units <= gone then return (number + SLICES + 1) * slice - now end
    end
    return rate.span
  end
  local over = used + rate.units - rate.limit
  rate.wait = over > 0 and until_gone(over) or 0
  rate.write = function(units)
    local number = newest
    while units < 0 and newest - SLICES < number and (taken[number] or 0) < -units do
      number = number - 1
    end
    taken[number] = math.max(0, (taken[number] or 0) + units)
    used = math.max(0, used + units)
    redis.call('DEL', rate.key)
    for at, count in pairs(taken) do
      if count > 0 then
        redis.call('HSET', rate.key, string.format('%.0f', at), string.format('%.0f', count))
      end
    end
    redis.call('PEXPIRE', rate.key, string.format('%.0f', math.ceil(slice * 17 / 1000) + 1))
  end
  rate.left = function()
    local left = math.max(0, rate.limit - used)
    return left, used > 0 and until_gone(1) or 0
  end
end

local rates, fits = {}, true
for number, key in ipairs(KEYS) do
  local at = (number - 1) * 6
  local rate = { key = key, limit = tonumber(ARGV[at + 2]), span = tonumber(ARGV[at + 3]) }
  rate.burst, rate.units = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  rate.debt = tonumber(ARGV[at + 6])
  if ARGV[at + 1] == 'B' then bucket(rate) else window(rate) end
  rate.has = rate.units <= 0 or rate.wait <= 0.01
  fits = fits and rate.has
  rates[number] = rate
end

local told = {}
for _, rate in ipairs(rates) do
  if fits then
    rate.write(rate.units)
  elseif rate.debt > 0 then
    rate.write(0)
  end
  local left, more = rate.left()
  told[#told + 1] = rate.has and 1 or 0
  told[#told + 1] = left
  told[#told + 1] = math.ceil(more)
  told[#told + 1] = rate.has and 0 or math.ceil(rate.wait)
end
return told
