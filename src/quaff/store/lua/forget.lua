#!lua flags=allow-oom
--- forget: succeeded | failed, and stays so; its result is dropped sooner
-- ARGV: ms from now until it is dropped, id, id, ...   (at most 500)
-- Answer: one number a job: 1 its result is gone by then; 0 there is none
-- Guarantees: no result is kept longer than it would have been; the tombstone keeps its time. The sweep does the dropping.
-- KEYS: res done
-- @include schema
-- @include clock

local at = clock() + tonumber(ARGV[1])
local answers = {}
for i = 2, #ARGV do
  local due = redis.call('HEXISTS', k.res, ARGV[i]) == 1 and redis.call('ZSCORE', k.done, ARGV[i])
  if due and tonumber(due) > at then redis.call('ZADD', k.done, ms(at), ARGV[i]) end
  answers[#answers + 1] = due and 1 or 0
end
return answers
