#!lua flags=no-writes,allow-oom
--- listing: a page of what is kept for people, the last to go first (changes nothing)
-- ARGV: what ('tasks' 'failures' 'workers'), ms of the time it goes from which to go on or '+inf', how many to leave out, most in one page
-- Answer: {now in ms, name, ms it goes, entry, name, ...}; of what has gone and was not swept yet nothing
-- KEYS: tasks tasks_until failures failures_until workers workers_until
-- @include schema
-- @include clock
local now = clock()
local answer = {now}
local pairs_of = {tasks = {k.tasks, k.tasks_until}, failures = {k.failures, k.failures_until}, workers = {k.workers, k.workers_until}}
local key, line = unpack(pairs_of[ARGV[1]])
local page = redis.call('ZREVRANGEBYSCORE', line, ARGV[2], '(' .. ms(now), 'WITHSCORES', 'LIMIT', ARGV[3], ARGV[4])
for i = 1, #page, 2 do
  answer[#answer + 1] = page[i]
  answer[#answer + 1] = page[i + 1]
  answer[#answer + 1] = redis.call('HGET', key, page[i]) or ''
end
return answer
