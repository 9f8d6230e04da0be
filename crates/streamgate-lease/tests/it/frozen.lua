-- frozen: stands before a script, which then finds the server's clock where the test has put it.
--
-- KEYS   none of its own; reads `clock`, unix ms
-- ARGV   none of its own
-- Returns  nothing: the script follows
-- Cost   one GET; for tests only.
-- Keeps  everything else as it is.
local server, frozen = redis, tonumber(redis.call('GET', 'clock'))
local redis = { pcall = server.pcall }

function redis.call(command, ...)
  if command ~= 'TIME' then return server.call(command, ...) end
  return { math.floor(frozen / 1000), frozen % 1000 * 1000 }
end

