-- What is due goes to the tail of its line, the earliest first; how many.
-- KEYS: sched tries opens
-- @include clock
-- @include followed
-- @include tries
-- @include place
local function promote(now, limit)
  local due = redis.call('ZRANGEBYSCORE', k.sched, '-inf', ms(now), 'LIMIT', 0, limit)
  if #due == 0 then return 0 end
  redis.call('ZREM', k.sched, unpack(due))
  for i, text in ipairs(redis.call('HMGET', k.tries, unpack(due))) do
    place(due[i], read_tries(text), false)
  end
  happened(due, 'e')
  return #due
end

-- Milliseconds until the next one is due, or a limit opens; -1 if nothing of that kind is known.
local function next_due(now)
  local first = redis.call('ZRANGEBYSCORE', k.sched, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  local opens = redis.call('ZRANGEBYSCORE', k.opens, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  local at = math.min(tonumber(first[2] or math.huge), tonumber(opens[2] or math.huge))
  return at < math.huge and math.max(0, at - now) or -1
end
