#!lua flags=allow-oom
--- schedule: one is added, replaced, removed, paused or resumed by hand
-- ARGV: 'add' 'replace' 'remove' 'pause' 'resume', name, definition ('' but for the first two), who
-- Answer: 1 done; 0 there is none ('add': there is one)
-- Guarantees: what it missed while it was paused is not made up for.
-- KEYS: sched_seen sched_next stop
-- @include schema
-- @include clock
-- @include audit
-- @include timetable
local what, name, definition, now = ARGV[1], ARGV[2], ARGV[3], clock()
local state = state_of(name)
if what ~= 'replace' and (what == 'add') == (state and true or false) then return 0 end
if what == 'add' or what == 'replace' then
  redis.call('ZREM', k.sched_seen, name)
  set_schedule(name, definition, 0, now)
elseif what == 'remove' then
  remove_schedule(name)
else
  state[3] = what == 'pause' and 1 or 0
  state[1] = math.max(state[1], now)
  set_state(name, state)
  redis.call('ZADD', k.sched_next, what == 'pause' and 'inf' or ms(now), name)
end
audit(now, ARGV[4], 'schedule ' .. what, name)
-- Whoever sweeps next learns of it; now.
redis.call('PUBLISH', k.stop, '')
return 1
