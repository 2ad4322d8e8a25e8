#!lua
--- enqueue_routed: nothing -> queued | scheduled | blocked, for jobs that ask for more than the end of the one line
-- ARGV: outcome of a waiting job that is replaced, its ttl in ms, tombstone window in ms, then for each job: id, message, route ('' for
--   none), terms: {ms of the time it is due, or 0, ms until then, what to do about a job with the same unique key ('keep'
--   'replace' 'reschedule' 'cancel_running' 'follow'), {{declaration of a limit, its numbers}, ...}}
--   (at most 30 jobs; ids of 16 bytes)
-- Answer: as enqueue; an id of 16 bytes where another job, that one, holds the unique key and stays
-- Guarantees: as enqueue; of two jobs with one unique key the second is stored only where it takes the place of the first, or,
--   blocked, is to follow it; at most one follows.
-- @include schema
-- @include clock
-- @include room
-- @include store
local rules, now = {ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])}, clock()
if bounded() then
  local fresh, size = 0, 0
  for i = 4, #ARGV, 4 do
    if is_new(ARGV[i], ARGV[i + 2], ARGV[i + 3], now) then fresh, size = fresh + 1, size + #ARGV[i + 1] end
  end
  local full = refused(fresh, size)
  if full then return full end
end
local answers = {}
for i = 4, #ARGV, 4 do
  answers[#answers + 1] = store(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], rules, now)
end
return answers
