#!lua flags=allow-oom
--- record: nothing but the list of changes
-- ARGV: who, what, about what
-- Answer: 1
-- Guarantees: no job is touched.
-- @include schema
-- @include clock
-- @include audit
audit(clock(), ARGV[1], ARGV[2], ARGV[3])
return 1
