-- A job whose attempt has ended so that it can go on later: it sleeps, waits for a signal, or was interrupted between two items.
-- `untimed` is the step that says so. Where the signal is there by now it does not wait.
-- KEYS: tries
-- @include steps
-- @include signals
-- @include tries
-- @include wake
-- @include place
local function suspend(id, untimed, delay, now)
  local remembered, step = steps_of(id), read_step(timed(0, untimed))
  local index, known = find_step(remembered, step.name)
  if step.kind == 'i' then
    put_step(id, remembered, index, timed(now, untimed))
    place(id, read_tries(redis.call('HGET', k.tries, id)), true)
    hint()
    return
  end
  local due = known and known.at or now + delay
  if not known then put_step(id, remembered, nil, timed(due, untimed)) end
  if step.kind == 'w' and find_signal(signals_of(id), step.signal) then due = now end
  start_waiting(id, due, now)
end
