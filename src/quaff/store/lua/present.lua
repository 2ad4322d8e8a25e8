#!lua flags=allow-oom
--- present: what a worker says of itself, and what is asked of it (changes nothing of any job)
-- ARGV: the worker's id, ms for which that holds (0: it leaves), what it says
-- Answer: {1 if it is to drain, id of a job that somebody wants to know the whereabouts of, id, ...}
-- Guarantees: whoever falls silent is forgotten by a sweep. What is asked stays until it is answered, or its time is over.
-- KEYS: workers workers_until requests
-- @include schema
-- @include clock
-- @include shelve
local worker, lasts, now = ARGV[1], tonumber(ARGV[2]), clock()
if lasts > 0 then
  shelve(k.workers, k.workers_until, worker, ARGV[3], now + lasts, 1000)
else
  redis.call('HDEL', k.workers, worker)
  redis.call('ZREM', k.workers_until, worker)
  redis.call('ZREM', k.requests, 'd' .. worker)
end
local answer = {0}
for _, request in ipairs(redis.call('ZRANGEBYSCORE', k.requests, '(' .. ms(now), '+inf', 'LIMIT', 0, 50)) do
  if request == 'd' .. worker then
    answer[1] = 1
  elseif request:sub(1, 1) == 's' then
    answer[#answer + 1] = request:sub(2)
  end
end
return answer
