#!lua flags=no-writes,allow-oom
--- series: what was counted in each minute or hour, of one task or of all (changes nothing)
-- ARGV: 'm' or 'h', a task's name or '', how many, with the present one
-- Answer: {number of the present minute or hour, the numbers of each as a MessagePack map or '', the present one first}
-- @include schema
-- @include clock
-- @include tallied
return tallied(ARGV[1], ARGV[2], tonumber(ARGV[3]), clock())
