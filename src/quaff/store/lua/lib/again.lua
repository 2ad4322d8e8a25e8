-- A job whose attempt is over comes back: 'r' after a failure, which is counted, 'w' because it wants to wait, which
-- costs nothing. Whoever waits for work must know of a new earliest one. Needs: clock, wake, tries, history, stopped.
local COUNTED = {r = 'retried', w = 'snoozed'}
local function come_back(k, id, letter, token, delay, record, now)
  remember(k.history, id, record)
  if stopped(k, id, token, now) then return end
  local t = read_tries(redis.call('HGET', k.tries, id))
  t.token = token
  if letter == 'r' then t.attempts, t.failures = t.attempts + 1, t.failures + 1 end
  redis.call('HSET', k.tries, id, tries_text(t))
  redis.call('HINCRBY', k.meta, COUNTED[letter], 1)
  if delay == 0 then
    local line = line_of(t, k.ready, k.solo)
    redis.call('LPUSH', line, id)
    hint(k.wake)
  else
    redis.call('ZADD', k.sched, ms(now + delay), id)
    if redis.call('ZRANK', k.sched, id) == 0 then hint(k.wake) end
  end
end
