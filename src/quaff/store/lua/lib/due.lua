-- What is due goes to the tail of its line, the earliest first; how many. Needs: clock, tries.
local function promote(sched, tries, ready, solo, now, limit)
  local due = redis.call('ZRANGEBYSCORE', sched, '-inf', ms(now), 'LIMIT', 0, limit)
  if #due == 0 then return 0 end
  redis.call('ZREM', sched, unpack(due))
  for i, text in ipairs(redis.call('HMGET', tries, unpack(due))) do
    local line = line_of(read_tries(text), ready, solo)
    redis.call('LPUSH', line, due[i])
  end
  return #due
end

-- Milliseconds until the next one, -1 if there is none.
local function next_due(sched, now)
  local first = redis.call('ZRANGEBYSCORE', sched, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return first[2] and math.max(0, tonumber(first[2]) - now) or -1
end
