#!lua flags=allow-oom
--- prioritize: queued, at another place in line; whatever else lives has the new priority from its next wait on
-- ARGV: priority (-100 to 100), id, id, ...   (at most 30)
-- Answer: one number a job: 1 it has that priority; 0 it has ended, or nobody knows it
-- Guarantees: among those that have a priority already it comes last.
-- KEYS: msg tomb
-- @include schema
-- @include clock
-- @include wake
-- @include priority
local priority, now = tonumber(ARGV[1]), clock()
local answers, moved = {}, false
for i = 2, #ARGV do
  local id = ARGV[i]
  if redis.call('HEXISTS', k.msg, id) == 0 or redis.call('HEXISTS', k.tomb, id) == 1 then
    answers[#answers + 1] = 0
  else
    answers[#answers + 1] = 1
    moved = reprioritize(id, priority, now) or moved
  end
end
if moved then hint() end
return answers
