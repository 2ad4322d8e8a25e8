#!lua flags=no-writes,allow-oom
--- asked: which running jobs were asked to stop (changes nothing)
-- ARGV: id, id, ...   (at most 500)
-- Answer: one number a job: 1 it was asked; 0 it was not
-- KEYS: stop
-- @include schema

local answers = {}
for i, request in ipairs(redis.call('HMGET', k.stop, unpack(ARGV))) do answers[i] = request and 1 or 0 end
return answers
