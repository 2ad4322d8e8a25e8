#!lua flags=no-writes,allow-oom
--- letters: a page of dead letters, the newest first (changes nothing)
-- ARGV: ms from which to go back or '+inf', how many to leave out, most in one page
-- Answer: {id, ms it was given up, outcome or '', id, ...}
-- KEYS: dead res
-- @include schema

local page = redis.call('ZREVRANGEBYSCORE', k.dead, ARGV[1], '-inf', 'WITHSCORES', 'LIMIT', ARGV[2], ARGV[3])
local answer = {}
for i = 1, #page, 2 do
  answer[#answer + 1] = page[i]
  answer[#answer + 1] = page[i + 1]
  answer[#answer + 1] = redis.call('HGET', k.res, page[i]) or ''
end
return answer
