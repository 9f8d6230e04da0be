-- shift: lets time pass for all leases in this server, by moving everything it knows into the past.
--
-- KEYS   none: it looks through all of them
-- ARGV   1  milliseconds
-- Returns  how many keys there were
-- Cost   everything; for tests only.
-- Keeps  what is started, paused, expiring, ended and kept stays so, that much earlier.
local ms = tonumber(ARGV[1])
local keys = redis.call('KEYS', 'sg:*')
for _, key in ipairs(keys) do
  if string.sub(key, -2) == ':l' then
    for n, part in ipairs(redis.call('ZRANGE', key, 0, -1)) do
      redis.call('ZINCRBY', key, -ms, part)
    end
  else
    local all = redis.call('HGETALL', key)
    for n = 1, #all, 2 do
      local started, since, rest = string.match(all[n + 1], '^L(%d+),(%d+),(.*)$')
      local why, till, again = string.match(all[n + 1], '^T(%a),(%d+),(%d)$')
      local moved
      local mark = string.sub(all[n], 1, 1)
      if mark == '@' then
        moved = string.gsub(all[n + 1], '^%d+', function(at) return string.format('%.0f', at - ms) end)
      elseif mark == '=' then
        local id, made, till = string.match(all[n + 1], '^([^,]+),(%d+),(%d+)$')
        moved = string.format('%s,%.0f,%.0f', id, made - ms, till - ms)
      elseif mark == '!' then
        moved = string.format('%.0f', all[n + 1] - ms)
      elseif mark == '+' then
        local head, marked, anew, began = string.match(all[n + 1], '^(.*),(%d+),(%d+),(%d+)$')
        local function back(at) return at == '0' and 0 or at - ms end
        moved = string.format('%s,%.0f,%.0f,%.0f', head, back(marked), back(anew), back(began))
      elseif started == '0' then
        moved = all[n + 1] -- only a trace of a login that was released
      elseif started then
        if since ~= '0' then since = since - ms end
        rest = string.gsub(rest, '^(%d,/!)(%d+)', function(head, till)
          return string.format('%s%.0f', head, till - ms)
        end)
        moved = string.format('L%.0f,%.0f,%s', started - ms, since, rest)
      else
        moved = string.format('T%s,%.0f,%s', why, till - ms, again)
      end
      redis.call('HSET', key, all[n], moved)
    end
  end
  local left = redis.call('PTTL', key)
  if left - ms <= 0 then redis.call('DEL', key) else redis.call('PEXPIRE', key, left - ms) end
end
return #keys
