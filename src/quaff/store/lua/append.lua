#!lua flags=allow-oom
--- append: running, and stays so; lines that it has logged, or values that it has given, are kept
-- ARGV: for each packet: id, token, 'l' (lines) or 'v' (values), how many of this attempt went before, how many are in it, bytes
--   (opaque); first, for values, one with none in it and the label of them all in the place of bytes   (at most 30)
-- Answer: one number a packet: 1 kept, now or before; 3 FENCED (this token does not hold the job)
-- Guarantees: of each job the newest of each kind, as much as lib/tail says; no job lives longer or shorter by it.
-- KEYS: active
-- @include schema
-- @include followed
-- @include tail
local ids, answers, news = {}, {}, {l = {}, v = {}}
for i = 1, #ARGV, 6 do ids[#ids + 1] = ARGV[i] end
for i, token in ipairs(redis.call('HMGET', k.active, unpack(ids))) do
  local at = 6 * i - 5
  answers[i] = token == ARGV[at + 1] and 1 or 3
  if answers[i] == 1 then
    append(ARGV[at + 2], ids[i], token, tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), ARGV[at + 5])
    table.insert(news[ARGV[at + 2]], ids[i])
  end
end
happened(news.l, 'e')
happened(news.v, 'v')
return answers
