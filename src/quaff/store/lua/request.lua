#!lua flags=allow-oom
--- request: none: a worker is asked to drain, or where a running job is in its code
-- ARGV: 'd' or 's', the worker's id or the job's, ms for which that is asked, who asks, the name of it for the list of changes
-- Answer: 1 it is asked; 0 there is no such worker, or the job does not run
-- Guarantees: no job is touched. Fifty requests are open at most, and the first to go makes room.
-- KEYS: workers_until active requests dumps dumps_until
-- @include schema
-- @include clock
-- @include audit
local what, id, lasts, who, about, now = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], clock()
if what == 'd' then
  if tonumber(redis.call('ZSCORE', k.workers_until, id) or 0) <= now then return 0 end
else
  if redis.call('HEXISTS', k.active, id) == 0 then return 0 end
  -- What was said before is no answer to this.
  redis.call('HDEL', k.dumps, id)
  redis.call('ZREM', k.dumps_until, id)
end
local request = what .. id
if not redis.call('ZSCORE', k.requests, request) and redis.call('ZCARD', k.requests) >= 50 then
  redis.call('ZREM', k.requests, redis.call('ZRANGEBYSCORE', k.requests, '-inf', '+inf', 'LIMIT', 0, 1)[1])
end
redis.call('ZADD', k.requests, ms(now + lasts), request)
audit(now, who, what == 'd' and 'drain' or 'stack', about)
redis.call('PUBLISH', k.requests, '')
return 1
