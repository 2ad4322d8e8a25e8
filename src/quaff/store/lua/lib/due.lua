-- What is due goes to the tail of its line, the earliest first; how many.
-- KEYS: sched tries
-- @include clock
-- @include tries
local function promote(now, limit)
  local due = redis.call('ZRANGEBYSCORE', k.sched, '-inf', ms(now), 'LIMIT', 0, limit)
  if #due == 0 then return 0 end
  redis.call('ZREM', k.sched, unpack(due))
  for i, text in ipairs(redis.call('HMGET', k.tries, unpack(due))) do
    local line = line_of(read_tries(text))
    redis.call('LPUSH', line, due[i])
  end
  return #due
end

-- Milliseconds until the next one, -1 if there is none.
local function next_due(now)
  local first = redis.call('ZRANGEBYSCORE', k.sched, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return first[2] and math.max(0, tonumber(first[2]) - now) or -1
end
