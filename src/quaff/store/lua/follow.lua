#!lua flags=allow-oom
--- follow: no state changes; whoever listens on the channel of `followed` is told when there is more
-- ARGV: id, what ('e' what happens to it, 'v' the values it gives), ms for which to tell, position of the first line or value to give
-- Answer: {state and detail as lookup has them, ms of now, record of one that has ended, progress of the running attempt, lines or
--   values as `page` gives them}; record and progress only with 'e'
-- Guarantees: what is not in the answer and comes within that time is told, so nothing falls between the look and the wait.
-- KEYS: res prog followed
-- @include schema
-- @include clock
-- @include where
-- @include tail
local id, what, now = ARGV[1], ARGV[2], clock()
local state, detail, kept = where_is(id)
-- Also where nobody knows it: it may be on its way here, from the queue where it is at home.
if state ~= 'ended' then redis.call('ZADD', k.followed, ms(now + tonumber(ARGV[3])), id .. what) end
return {
  state,
  detail,
  now,
  what == 'e' and kept and redis.call('HGET', k.res, id) or '',
  what == 'e' and state == 'running' and redis.call('HGET', k.prog, id) or '',
  (kept or state ~= 'ended') and page(what == 'e' and 'l' or what, id, tonumber(ARGV[4])) or {},
}
