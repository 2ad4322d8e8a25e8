-- What a limit lets through. Its name: 'r' (rate) or 'c' (concurrency), 16 characters for the key, 16 for the declaration.
-- `limits` has "n per burst" by the declaration, as the last sender's code had it; an operator's numbers, by the limit or the
-- declaration, with a '!' after it, come first. `rates` has the theoretical arrival time of the next start (GCRA), `slots`
-- how much of a concurrency limit is taken by running jobs.
-- KEYS: limits slots rates

-- What somebody brings along who is no job, by the limit: stored, it would stay for each key that anybody ever made up.
local brought = {}

local function numbers_of(limit)
  local found = redis.call('HMGET', k.limits, limit .. '!', limit:sub(18) .. '!', limit:sub(18))
  local text = found[1] or found[2] or brought[limit] or found[3] or '0 1 1'
  local n, per, burst = text:match('^(%d+) (%d+) (%d+)$')
  return tonumber(n), tonumber(per), tonumber(burst)
end

-- The arrival time of a rate's next start. With the numbers and the clock of now it is no further off than a whole burst; where
-- it is, they were others when it was written. A start that cost more than the burst is still owed for: with a '+' after it.
local function next_at(limit, now, n, per, burst)
  local at = math.max(tonumber(redis.call('ZSCORE', k.rates, limit) or 0), now)
  local furthest = now + burst * per / n
  if at > furthest and not redis.call('ZSCORE', k.rates, limit .. '+') then
    at = furthest
    redis.call('ZADD', k.rates, string.format('%.3f', at), limit)
  end
  return at
end

-- Milliseconds until so much may pass; 0 now, -1 when somebody gives something back.
local function wait_for(limit, cost, now)
  local n, per, burst = numbers_of(limit)
  if limit:byte() == 99 then
    local used = tonumber(redis.call('HGET', k.slots, limit) or 0)
    return n > 0 and used + math.min(cost, n) <= n and 0 or -1
  end
  if n == 0 then return -1 end
  return math.max(0, math.ceil(next_at(limit, now, n, per, burst) + (math.min(cost, burst) - burst) * per / n - now))
end

local function take(limit, cost, now)
  if limit:byte() == 99 then
    redis.call('HINCRBY', k.slots, limit, cost)
    return
  end
  local n, per, burst = numbers_of(limit)
  local at = string.format('%.3f', next_at(limit, now, n, per, burst) + cost * per / n)
  redis.call('ZADD', k.rates, at, limit)
  if cost > burst then redis.call('ZADD', k.rates, at, limit .. '+') end
end

-- What somebody took of a rate who did not start after all.
local function untake(limit, cost, now)
  local n, per, burst = numbers_of(limit)
  if n == 0 or not redis.call('ZSCORE', k.rates, limit) then return end
  redis.call('ZADD', k.rates, string.format('%.3f', next_at(limit, now, n, per, burst) - cost * per / n), limit)
end
