#!lua flags=allow-oom
--- heartbeat: the leases of living processes are renewed
-- ARGV: lease in ms, process, process, ...
-- Answer: one number a process: 1 renewed; 0 it holds no lease here (it never claimed, or was given up)
-- Guarantees: a lease that was taken back is not brought to life.
-- KEYS: lease
-- @include schema
-- @include clock

local until_ms = ms(clock() + tonumber(ARGV[1]))
local answers = {}
for i = 2, #ARGV do
  local has = redis.call('ZSCORE', k.lease, ARGV[i])
  if has then redis.call('ZADD', k.lease, until_ms, ARGV[i]) end
  answers[#answers + 1] = has and 1 or 0
end
return answers
