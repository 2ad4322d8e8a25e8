#!lua flags=allow-oom
--- limit: other numbers for a limit, or those of the code again; who waits at it is looked at again, one step
-- ARGV: the limit or its declaration, 'n per burst' or '', who does it, the last limit of the step before or ''
-- Answer: the last limit looked at, '' when all are
-- Guarantees: holds from the next claim on.
-- KEYS: limits waits
-- @include schema
-- @include clock
-- @include lanes
-- @include audit
local name, numbers, now = ARGV[1], ARGV[2], clock()
if ARGV[4] == '' then
  if numbers ~= '' then
    redis.call('HSET', k.limits, name .. '!', numbers)
  else
    redis.call('HDEL', k.limits, name .. '!')
  end
  audit(now, ARGV[3], 'limit', name .. ' ' .. numbers)
end
local last = ARGV[4]
for _ = 1, 100 do
  local first = redis.call('ZRANGEBYLEX', k.waits, last == '' and '-' or '(' .. last .. '\255', '+', 'LIMIT', 0, 1)[1]
  if not first then return '' end
  last = first:sub(1, 33)
  pass_on(last, now)
end
return last
