-- end_turn: the turn ends after a time, or at once. Idempotent.
--
-- KEYS   1  STRING: who has the turn
-- ARGV   1  who ends it
--        2  after how long, ms; 0: now
-- Returns  1 if it was the asker's, else 0
-- Cost   two commands.
-- Keeps  the turn of another is never touched.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
