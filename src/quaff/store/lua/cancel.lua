#!lua flags=allow-oom
--- cancel: scheduled | retrying | queued | blocked -> cancelled; running: asked to stop
-- ARGV: outcome to store, its ttl in ms, tombstone window in ms, id, id, ...   (at most 500)
-- Answer: one item a job: 'c' cancelled now, or before; 's' 'f' 'e' it has ended otherwise; 'r' it runs, and was asked;
--   '' nobody knows it
-- Guarantees: what waits never starts; a terminal state never changes; a running job that is asked ends as whatever it
--   makes of that, but does not come back.
-- @include schema
-- @include clock
-- @include calloff
local outcome, ttl, window, now = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), clock()
local answers = {}
for i = 4, #ARGV do answers[#answers + 1] = call_off(ARGV[i], outcome, ttl, window, now) end
return answers
