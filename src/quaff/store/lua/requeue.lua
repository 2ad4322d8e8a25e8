#!lua flags=allow-oom
--- requeue: failed -> queued
-- ARGV: id, id, ...   (at most 30)
-- Answer: one item a job: 'q' it waits again; 'n' it has not ended; 's' 'c' 'e' it has ended otherwise; 'f' it failed and is
--   discarded; 'u' another job holds its unique key now, or it is
--   one of a flow, which is sent back as a whole; '' nobody knows it
-- Guarantees: the message is the one that was sent; the attempts before stay in the history, and are counted anew; what its
--   steps remember stays.
-- KEYS: meta
-- @include schema
-- @include clock
-- @include wake
-- @include send_back

local now = clock()
local answers, back = {}, 0
for i, id in ipairs(ARGV) do
  answers[i] = send_back(id, now)
  if answers[i] == 'q' then back = back + 1 end
end
if back > 0 then
  redis.call('HINCRBY', k.meta, 'requeued', back)
  hint()
end
return answers
