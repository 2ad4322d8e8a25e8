#!lua flags=allow-oom
--- declare: a worker's schedules exist and are those of the youngest code
-- ARGV: ms at which that code was started by the server's clock, or 0: now; who; then name, definition, ...   (at most 30)
-- Answer: ms to call with from now on
-- Guarantees: an older worker changes nothing that a younger one declared, nor what a person made; what no worker declares for
--   three leases, while some worker lives, is removed by the sweep.
-- KEYS: sched_seen sched_def stop
-- @include schema
-- @include clock
-- @include audit
-- @include timetable
local now = clock()
local since, who = tonumber(ARGV[1]), ARGV[2]
if since == 0 then since = now end
local changed = false
for i = 3, #ARGV, 2 do
  local name, definition = ARGV[i], ARGV[i + 1]
  local state = state_of(name)
  if not state or state[2] > 0 then
    redis.call('ZADD', k.sched_seen, ms(now), name)
    if not state or (state[2] <= since and redis.call('HGET', k.sched_def, name) ~= definition) then
      set_schedule(name, definition, since, now)
      audit(now, who, state and 'schedule changed by the code' or 'schedule declared', name)
      changed = true
    elseif state[2] < since then
      state[2] = since
      set_state(name, state)
    end
  end
end
if changed then redis.call('PUBLISH', k.stop, '') end
return since
