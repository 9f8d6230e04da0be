-- take_turn: one gateway of a fleet orders at a time. Idempotent for the one that has the turn.
--
-- KEYS   1  STRING: who has the turn
-- ARGV   1  who asks
--        2  how long the turn lasts, ms
-- Returns  1 if the asker has it now, 0 if another has
-- Cost   two commands.
-- Keeps  the turn of another is never touched; it never lives without a TTL.
local who = redis.call('GET', KEYS[1])
if who and who ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
