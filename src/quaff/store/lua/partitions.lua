#!lua flags=no-writes,allow-oom
--- partitions: how many a queue has, asked of its first one (changes nothing)
-- ARGV: none
-- Answer: the most that anybody has had
-- KEYS: meta
-- @include schema

return tonumber(redis.call('HGET', k.meta, 'partitions') or 1)
