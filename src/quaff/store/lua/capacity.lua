#!lua flags=allow-oom
--- capacity: how many jobs a queue takes, and how many bytes of messages
-- ARGV: jobs or '', bytes or '', who
-- Answer: 1
-- Guarantees: what is there stays; new jobs are refused while it is full.
-- KEYS: meta
-- @include schema
-- @include clock
-- @include audit
local values, now = {max_jobs = ARGV[1], max_bytes = ARGV[2]}, clock()
for name, value in pairs(values) do
  if value == '' then redis.call('HDEL', k.meta, name) else redis.call('HSET', k.meta, name, value) end
end
audit(now, ARGV[3], 'capacity', ARGV[1] .. ' jobs, ' .. ARGV[2] .. ' bytes')
return 1
