#!lua flags=no-writes,allow-oom
--- listing: a page of what is kept for people, the last to go first (changes nothing)
-- ARGV: what ('tasks' 'failures' 'workers'), how many to leave out, most in one page, text that an entry has to have in it or ''
-- Answer: {how many were looked at, name, ms it goes, entry, name, ...}; of what has gone and was not swept yet nothing
-- @include schema
-- @include clock
-- @include shelf
local page, looked = shelf(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], clock())
return {looked, unpack(page)}
