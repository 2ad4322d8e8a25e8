#!lua flags=allow-oom
--- leave: what somebody who is no job held of a limit is free
-- ARGV: limit, cost, token
-- Answer: 1 done; 0 it was before
-- Guarantees: the first job that waits at the limit is woken.
-- @include schema
-- @include clock
-- @include guests
return dismiss(ARGV[1] .. string.format('%08d', tonumber(ARGV[2])) .. ARGV[3], clock())
