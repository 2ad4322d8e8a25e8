#!lua flags=no-writes,allow-oom
--- schedules: those that somebody should look at, or a page of all (changes nothing)
-- ARGV: 'due' or 'all', how many to leave out, how many at most
-- Answer: {ms now, ms when the next one is to be looked at or -1, ms until which nothing is reaped, name, definition, state, ...}
-- KEYS: sched_next meta sched_def sched_state
-- @include schema
-- @include clock
local now = clock()
local until_ms = ARGV[1] == 'due' and ms(now) or '+inf'
local names = redis.call('ZRANGEBYSCORE', k.sched_next, '-inf', until_ms, 'LIMIT', tonumber(ARGV[2]), tonumber(ARGV[3]))
local first = redis.call('ZRANGEBYSCORE', k.sched_next, '(' .. ms(now), '(inf', 'WITHSCORES', 'LIMIT', 0, 1)
local answer = {now, first[2] and tonumber(first[2]) or -1, tonumber(redis.call('HGET', k.meta, 'reap_from')) or 0}
for _, name in ipairs(names) do
  answer[#answer + 1] = name
  answer[#answer + 1] = redis.call('HGET', k.sched_def, name)
  answer[#answer + 1] = redis.call('HGET', k.sched_state, name)
end
return answer
