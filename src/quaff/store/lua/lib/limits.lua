-- What a limit lets through. Its name: 'r' (rate) or 'c' (concurrency), 16 characters for the key, 16 for the declaration.
-- `limits` has "n per burst" by the declaration, as the last sender's code had it; an operator's numbers, by the limit or the
-- declaration, with a '!' after it, come first. `rates` has the theoretical arrival time of the next start (GCRA), `slots`
-- how much of a concurrency limit is taken by running jobs.
-- KEYS: limits slots rates
local function numbers_of(limit)
  local found = redis.call('HMGET', k.limits, limit .. '!', limit:sub(18) .. '!', limit:sub(18))
  local n, per, burst = (found[1] or found[2] or found[3] or '0 1 1'):match('^(%d+) (%d+) (%d+)$')
  return tonumber(n), tonumber(per), tonumber(burst)
end

-- Milliseconds until so much may pass; 0 now, -1 when somebody gives something back.
local function wait_for(limit, cost, now)
  local n, per, burst = numbers_of(limit)
  if limit:byte() == 99 then
    local used = tonumber(redis.call('HGET', k.slots, limit) or 0)
    return n > 0 and used + math.min(cost, n) <= n and 0 or -1
  end
  if n == 0 then return -1 end
  local next_at = math.max(tonumber(redis.call('ZSCORE', k.rates, limit) or 0), now)
  return math.max(0, math.ceil(next_at + (math.min(cost, burst) - burst) * per / n - now))
end

local function take(limit, cost, now)
  if limit:byte() == 99 then
    redis.call('HINCRBY', k.slots, limit, cost)
  else
    local n, per = numbers_of(limit)
    local next_at = math.max(tonumber(redis.call('ZSCORE', k.rates, limit) or 0), now)
    redis.call('ZADD', k.rates, string.format('%.3f', next_at + cost * per / n), limit)
  end
end
