-- What a limit lets through. Its name: 'r' (rate) or 'c' (concurrency), 16 characters for the key, 16 for the declaration.
-- `limits` has "n per burst" by the declaration, as the last sender's code had it; an operator's numbers, by the limit or the
-- declaration, with a '!' after it, come first. `rates` has the theoretical arrival time of the next start (GCRA), `slots`
-- how much of a concurrency limit is taken by running jobs.
-- KEYS: limits slots rates

-- What somebody brings along who is no job, by the limit: stored, it would stay for each key that anybody ever made up.
local brought = {}

-- What this call has read or written already, by limit: {n, per, burst}, how much is taken, the arrival time of the next start.
-- A claim asks for the same ones again and again.
local numbers_read, slots_read, rates_read = {}, {}, {}

-- Reads what several limits have, in three commands, however many they are.
local function read_limits(limits)
  local unread, fields, slots, rates = {}, {}, {}, {}
  for _, each in ipairs(limits) do
    local limit = each[1]
    if not numbers_read[limit] then
      unread[#unread + 1] = limit
      fields[#fields + 1] = limit .. '!'
      fields[#fields + 1] = limit:sub(18) .. '!'
      fields[#fields + 1] = limit:sub(18)
    end
    if limit:byte() == 99 then
      if not slots_read[limit] then slots[#slots + 1] = limit end
    elseif not rates_read[limit] then
      rates[#rates + 1] = limit
    end
  end
  if #unread > 0 then
    local found = redis.call('HMGET', k.limits, unpack(fields))
    for i, limit in ipairs(unread) do
      local text = found[3 * i - 2] or found[3 * i - 1] or brought[limit] or found[3 * i] or '0 1 1'
      local n, per, burst = text:match('^(%d+) (%d+) (%d+)$')
      -- Damaged ones are as none: nothing begins until they are declared again.
      numbers_read[limit] = {tonumber(n) or 0, tonumber(per) or 1, tonumber(burst) or 1}
    end
  end
  for i, text in ipairs(#slots > 0 and redis.call('HMGET', k.slots, unpack(slots)) or {}) do slots_read[slots[i]] = tonumber(text or 0) or 0 end
  for i, text in ipairs(#rates > 0 and redis.call('ZMSCORE', k.rates, unpack(rates)) or {}) do rates_read[rates[i]] = tonumber(text or 0) end
end

local function numbers_of(limit)
  if not numbers_read[limit] or not (slots_read[limit] or rates_read[limit]) then read_limits({{limit}}) end
  return unpack(numbers_read[limit])
end

-- The numbers that a sender's code has for a declaration; its jobs say so one after the other.
local numbers_set = {}
local function set_numbers(declaration, text)
  if numbers_set[declaration] == text then return end
  redis.call('HSET', k.limits, declaration, text)
  numbers_set[declaration], numbers_read = text, {}
end

local function arrive_at(limit, at)
  redis.call('ZADD', k.rates, string.format('%.3f', at), limit)
  rates_read[limit] = at
end

-- So much of a concurrency limit is taken now, or free again.
local function use(limit, cost)
  slots_read[limit] = redis.call('HINCRBY', k.slots, limit, cost)
  if slots_read[limit] <= 0 then
    redis.call('HDEL', k.slots, limit)
    slots_read[limit] = 0
  end
end

-- The arrival time of a rate's next start. With the numbers and the clock of now it is no further off than a whole burst; where
-- it is, they were others when it was written. A start that cost more than the burst is still owed for: with a '+' after it.
local function next_at(limit, now, n, per, burst)
  local at = math.max(rates_read[limit], now)
  local furthest = now + burst * per / n
  if at > furthest and not redis.call('ZSCORE', k.rates, limit .. '+') then
    at = furthest
    arrive_at(limit, at)
  end
  return at
end

-- Milliseconds until so much may pass; 0 now, -1 when somebody gives something back.
local function wait_for(limit, cost, now)
  local n, per, burst = numbers_of(limit)
  if limit:byte() == 99 then
    return n > 0 and slots_read[limit] + math.min(cost, n) <= n and 0 or -1
  end
  if n == 0 then return -1 end
  return math.max(0, math.ceil(next_at(limit, now, n, per, burst) + (math.min(cost, burst) - burst) * per / n - now))
end

local function take(limit, cost, now)
  if limit:byte() == 99 then
    use(limit, cost)
    return
  end
  local n, per, burst = numbers_of(limit)
  local at = next_at(limit, now, n, per, burst) + cost * per / n
  arrive_at(limit, at)
  if cost > burst then redis.call('ZADD', k.rates, string.format('%.3f', at), limit .. '+') end
end

-- What somebody took of a rate who did not start after all.
local function untake(limit, cost, now)
  local n, per, burst = numbers_of(limit)
  if n == 0 or rates_read[limit] == 0 then return end
  arrive_at(limit, next_at(limit, now, n, per, burst) - cost * per / n)
end
