#!lua flags=allow-oom
--- present: what a worker says of itself (changes nothing of any job)
-- ARGV: the worker's id, ms for which that holds (0: it leaves), what it says
-- Answer: 1
-- Guarantees: whoever falls silent is forgotten by a sweep.
-- KEYS: workers workers_until
-- @include schema
-- @include clock
-- @include shelve
local worker, lasts = ARGV[1], tonumber(ARGV[2])
if lasts > 0 then
  shelve(k.workers, k.workers_until, worker, ARGV[3], clock() + lasts, 1000)
else
  redis.call('HDEL', k.workers, worker)
  redis.call('ZREM', k.workers_until, worker)
end
return 1
