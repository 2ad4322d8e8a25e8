#!lua flags=allow-oom
--- watch: no state changes; whoever listens on the channel of `watched` is told when these jobs end
-- ARGV: ms for which to tell, then ids (at most 500)
-- Answer: for each id the letter of the state it ended in, '' if it has not, '?' if nobody knows it
-- Guarantees: what is answered '' and ends within that time is told, so nothing falls between the look and the wait.
-- KEYS: tomb msg watched flows
-- @include schema
-- @include clock
local now, answers, ids, members = clock(), {}, {}, {}
for i = 2, #ARGV do ids[#ids + 1] = ARGV[i] end
local ended, known = redis.call('HMGET', k.tomb, unpack(ids)), redis.call('HMGET', k.msg, unpack(ids))
for i, id in ipairs(ids) do
  answers[i] = ended[i] and ended[i]:sub(1, 1):lower() or ((known[i] or redis.call('HEXISTS', k.flows, id .. 'open') == 1) and '' or '?')
  if answers[i] == '' then
    members[#members + 1] = ms(now + tonumber(ARGV[1]))
    members[#members + 1] = id
  end
end
if #members > 0 then redis.call('ZADD', k.watched, unpack(members)) end
return answers
