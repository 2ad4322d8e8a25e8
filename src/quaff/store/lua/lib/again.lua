-- A job whose attempt is over comes back: 'r' after a failure, which is counted, 'w' because it wants to wait, which
-- costs nothing. Whoever waits for work must know of a new earliest one.
-- KEYS: tries meta
-- @include tries
-- @include route
-- @include place
-- @include history
-- @include stopped
local COUNTED = {r = 'retried', w = 'snoozed'}
local function come_back(id, letter, token, delay, record, now, priority)
  remember(id, record)
  if stopped(id, token, now) then return end
  if priority and priority ~= '' then set_priority(id, tonumber(priority)) end
  local t = read_tries(redis.call('HGET', k.tries, id))
  t.token = token
  if letter == 'r' then t.attempts, t.failures = t.attempts + 1, t.failures + 1 end
  redis.call('HSET', k.tries, id, tries_text(t))
  redis.call('HINCRBY', k.meta, COUNTED[letter], 1)
  start_waiting(id, now + delay, now)
end
