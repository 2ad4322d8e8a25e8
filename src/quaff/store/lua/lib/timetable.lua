-- Schedules of a queue: `sched_def` has what a schedule is, opaque; `sched_state` by its name {ms up to
-- which it is dealt with, ms at which the code that declares it was started or 0 where a person made it, 1 if paused, id of the last
-- job, ms of its instant};
-- `sched_next` when somebody should look at it, 'inf' for a paused one; `sched_seen` when a worker last declared it.
-- KEYS: sched_state sched_def sched_next sched_seen
-- @include clock
-- @include sound
local STATE_PARTS = {'number', 'number', 'number', 'string', 'number'}
local function state_of(name)
  local text = redis.call('HGET', k.sched_state, name)
  -- A damaged one is that of a schedule which begins now.
  return text and (sound(text, STATE_PARTS) or {0, 0, 0, '', 0})
end

local function set_state(name, state) redis.call('HSET', k.sched_state, name, cmsgpack.pack(state)) end

-- From now on: no instant before is made up for.
local function set_schedule(name, definition, since, now)
  local state = state_of(name) or {0, 0, 0, '', 0}
  redis.call('HSET', k.sched_def, name, definition)
  set_state(name, {math.max(state[1], now), since, state[3], state[4], state[5]})
  redis.call('ZADD', k.sched_next, state[3] == 1 and 'inf' or ms(now), name)
end

local function remove_schedule(name)
  redis.call('ZREM', k.sched_next, name)
  redis.call('ZREM', k.sched_seen, name)
  redis.call('HDEL', k.sched_state, name)
  return redis.call('HDEL', k.sched_def, name)
end

-- An id as text, which is all that the reader of a state knows.
local function hex(id)
  return (id:gsub('.', function(c) return string.format('%02x', c:byte()) end))
end
