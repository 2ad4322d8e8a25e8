#!lua flags=no-writes,allow-oom
--- dumped: where a job is, or was, in its code, as its worker has said (changes nothing)
-- ARGV: job's id
-- Answer: {the answer or '', 1 while one is still asked for}
-- KEYS: requests dumps dumps_until
-- @include schema
-- @include clock
local now = clock()
local function open(line, field) return tonumber(redis.call('ZSCORE', line, field) or 0) > now end
return {open(k.dumps_until, ARGV[1]) and redis.call('HGET', k.dumps, ARGV[1]) or '', open(k.requests, 's' .. ARGV[1]) and 1 or 0}
