#!lua flags=allow-oom
--- dump: none: where a running job is in its code, said by its worker because somebody asked
-- ARGV: job's id, its token, ms for which the answer is kept, the answer
-- Answer: 1 it is kept; 0 the job is held elsewhere, or has ended
-- Guarantees: no job is touched. Twenty answers are kept at most, and they go by themselves.
-- KEYS: active requests dumps dumps_until
-- @include schema
-- @include clock
-- @include shelve
local id = ARGV[1]
redis.call('ZREM', k.requests, 's' .. id)
if redis.call('HGET', k.active, id) ~= ARGV[2] then return 0 end
shelve(k.dumps, k.dumps_until, id, ARGV[4], clock() + tonumber(ARGV[3]), 20)
return 1
