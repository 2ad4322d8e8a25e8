#!lua flags=no-writes,allow-oom
--- recall: what a job remembers (changes nothing)
-- ARGV: id
-- Answer: {the time in ms, its steps as lib/steps.lua has them, each with its length in four bytes before it}
-- KEYS: steps
-- @include schema
-- @include clock
return {clock(), redis.call('HGET', k.steps, ARGV[1]) or ''}
