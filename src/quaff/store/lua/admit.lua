#!lua
--- admit: a queue that no code names is to be used; told to the first partition of `default` before anything is sent there
-- ARGV: its name, how many there may be
-- Answer: 1 it may; 0 there are as many as there may be
-- Guarantees: whoever was let in once is let in again.
-- KEYS: meta
-- @include schema

local field = 'queue:' .. ARGV[1]
if redis.call('HEXISTS', k.meta, field) == 1 then return 1 end
if tonumber(redis.call('HGET', k.meta, 'queues') or 0) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', k.meta, field, 1)
redis.call('HINCRBY', k.meta, 'queues', 1)
return 1
