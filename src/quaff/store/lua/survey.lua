#!lua flags=no-writes,allow-oom
--- survey: what the first screen shows of a queue, in one look (changes nothing)
-- ARGV: how many minutes, most workers, most kinds of failures
-- Answer: {what `stats` answers, what `series` answers of all tasks, a page of workers, one of kinds of failures, as `shelf` has them}
-- @include schema
-- @include clock
-- @include standing
-- @include tallied
-- @include shelf
local now = clock()
local workers = shelf('workers', 0, tonumber(ARGV[2]), '', now)
local failures = shelf('failures', 0, tonumber(ARGV[3]), '', now)
return {standing(now), tallied('m', '', tonumber(ARGV[1]), now), workers, failures}
