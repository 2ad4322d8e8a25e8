#!lua flags=no-writes,allow-oom
--- stats: how many jobs are where, and what has been counted (changes nothing)
-- ARGV: none
-- Answer: {name, number, name, number, ...}; 'head_ms' is when the job at the head of the line was sent, 0 where there is none or it does not say;
--   'processes' have a lease that has not lapsed; 'paused' is -1 where it is not, 0 for good, else the ms until it is over
-- @include schema
-- @include clock
-- @include standing
return standing(clock())
