#!lua flags=allow-oom
--- note: running, and stays so; how far it has come is written down
-- ARGV: id, token, progress (opaque), id, token, progress, ...   (at most 500 jobs)
-- Answer: one number a job: 1 noted; 3 FENCED (this token does not hold it)
-- Guarantees: no job lives longer or shorter by it, and none that runs elsewhere is spoken for.
-- KEYS: active prog
-- @include schema
-- @include followed
local ids, answers, noted = {}, {}, {}
for i = 1, #ARGV, 3 do ids[#ids + 1] = ARGV[i] end
for i, token in ipairs(redis.call('HMGET', k.active, unpack(ids))) do
  answers[i] = token == ARGV[3 * i - 1] and 1 or 3
  if answers[i] == 1 then
    noted[#noted + 1] = ids[i]
    noted[#noted + 1] = ARGV[3 * i]
  end
end
if #noted > 0 then
  redis.call('HSET', k.prog, unpack(noted))
  happened(ids, 'e')
end
return answers
