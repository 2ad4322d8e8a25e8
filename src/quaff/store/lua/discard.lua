#!lua flags=allow-oom
--- discard: failed, and stays so; its message, result, history, lines and values are deleted
-- ARGV: id, id, ...   (at most 500)
-- Answer: one number a job: 1 deleted; 2 it was deleted before; 0 it is no dead letter
-- Guarantees: the tombstone keeps its time, so that nothing that comes late revives the job.
-- KEYS: dead tomb
-- @include schema
-- @include dead

local answers = {}
for i, id in ipairs(ARGV) do
  if redis.call('ZSCORE', k.dead, id) then
    drop(id)
    answers[i] = 1
  else
    local ended = redis.call('HGET', k.tomb, id)
    answers[i] = (ended and ended:sub(1, 1) == 'f') and 2 or 0
  end
end
return answers
