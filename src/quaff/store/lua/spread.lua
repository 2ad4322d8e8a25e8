#!lua flags=allow-oom
--- spread: a queue has so many partitions, or more; told to its first one
-- ARGV: how many, as the caller has it
-- Answer: 1
-- Guarantees: the number only rises: what waits in a partition is served as long as somebody serves the queue.
-- KEYS: meta
-- @include schema

local told = tonumber(ARGV[1])
if told > tonumber(redis.call('HGET', k.meta, 'partitions') or 1) then redis.call('HSET', k.meta, 'partitions', told) end
return 1
