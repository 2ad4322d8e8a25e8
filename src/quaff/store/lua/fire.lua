#!lua flags=allow-oom
--- fire: the occurrences of a schedule that are due are enqueued, each once
-- ARGV: name, definition from which they were computed, ms of the last instant that is dealt with by this, ms when to look again or 'inf',
--   outcome of a waiting job that is replaced, its ttl in ms, tombstone window in ms, then for each occurrence: ms of its instant, id,
--   message, route, terms   (at most 30)
-- Answer: {1 or 0 where the schedule is another one by now, is paused, or somebody dealt with that instant before; ids enqueued ...}
-- Guarantees: no instant is enqueued twice, however late or often somebody calls; none before one that was.
-- KEYS: sched_def sched_next
-- @include schema
-- @include clock
-- @include room
-- @include store
-- @include timetable
local name, through, again, now = ARGV[1], tonumber(ARGV[3]), ARGV[4], clock()
local rules = {ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])}
local state = state_of(name)
if not state or state[3] == 1 or redis.call('HGET', k.sched_def, name) ~= ARGV[2] or through < state[1] then return {0} end
local size = 0
for i = 10, #ARGV, 5 do size = size + #ARGV[i] end
local full = refused((#ARGV - 7) / 5, size)
if full then return full end
local answer = {1}
for i = 8, #ARGV, 5 do
  if tonumber(ARGV[i]) > state[1] then
    local id = ARGV[i + 1]
    if store(id, ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], rules, now) == 0 then
      answer[#answer + 1] = id
      state[4], state[5] = hex(id), tonumber(ARGV[i])
    end
  end
end
state[1] = through
set_state(name, state)
redis.call('ZADD', k.sched_next, again, name)
return answer
