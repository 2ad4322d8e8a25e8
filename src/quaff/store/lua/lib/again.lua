-- A job whose attempt is over comes back: 'r' after a failure, which is counted, 'w' because it wants to wait, which
-- costs nothing. Whoever waits for work must know of a new earliest one. `extra` is '', or for 'w' the step for which it waits, or
-- for 'r' another priority, a space and another `queue#number`, one of them perhaps empty. Who is not at home goes there first,
-- and from there to that queue.
-- KEYS: tries meta
-- @include followed
-- @include tries
-- @include route
-- @include place
-- @include suspend
-- @include history
-- @include stopped
-- @include away
-- @include travels
-- @include end
local COUNTED = {r = 'retried', w = 'snoozed'}
local function come_back(id, letter, token, delay, record, now, window, extra)
  remember(id, record)
  if stopped(id, token, now) then return end
  extra = extra or ''
  local priority, queue = '', ''
  if letter == 'r' then priority, queue = extra:match('^(%S*) ?(.*)$') end
  local t = read_tries(redis.call('HGET', k.tries, id))
  t.token = token
  if letter == 'r' then t.attempts, t.failures = t.attempts + 1, t.failures + 1 end
  redis.call('HSET', k.tries, id, tries_text(t))
  redis.call('HINCRBY', k.meta, COUNTED[letter], 1)
  if queue ~= '' and travels(id) then
    send_home(id, 'r', delay, '', priority, queue, now)
    finish(id, 'c', token, '', 0, now, window)
    return
  end
  if priority ~= '' then set_priority(id, tonumber(priority)) end
  if queue ~= '' then set_queue(id, queue) end
  if letter == 'w' and extra ~= '' then
    suspend(id, extra, delay, now)
  else
    start_waiting(id, now + delay, now)
  end
  happened({id}, 'e')
end
