#!lua flags=allow-oom
--- forget: succeeded | failed, and stays so; its result is dropped sooner
-- ARGV: ms from now until it is dropped, id, id, ...   (at most 500)
-- Answer: one number a job: 1 its result is gone by then; 0 there is none
--   With 0 it is gone now, and the tombstone says that somebody dropped it.
-- Guarantees: no result is kept longer than it would have been; the tombstone keeps its time. The sweep does the dropping.
-- KEYS: res done tomb
-- @include schema
-- @include clock

local now = clock()
local at = now + tonumber(ARGV[1])
local answers = {}
for i = 2, #ARGV do
  local due = redis.call('HEXISTS', k.res, ARGV[i]) == 1 and redis.call('ZSCORE', k.done, ARGV[i])
  if due and tonumber(due) > at then redis.call('ZADD', k.done, ms(at), ARGV[i]) end
  local tomb = due and at <= now and redis.call('HGET', k.tomb, ARGV[i])
  if tomb and tomb:sub(1, 1) == 's' then redis.call('HSET', k.tomb, ARGV[i], 'S' .. tomb:sub(2)) end
  answers[#answers + 1] = due and 1 or 0
end
return answers
