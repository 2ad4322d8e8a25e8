-- What happens to a job whose process is gone.
-- Takes one job from its process and returns its token, or nil if it was not held. What it has of its limits is free.
-- KEYS: active held tries claims lease done
-- @include clock
-- @include followed
-- @include progress
-- @include tries
-- @include route
-- @include lanes
-- @include end
-- @include lonely
local function take_back(process, id, now)
  local token = redis.call('HGET', k.active, id)
  redis.call('ZREM', k.held, process .. id)
  if not token then return nil end
  redis.call('HDEL', k.active, id)
  forget_progress({id})
  happened({id}, 'e')
  local route = route_of(id)
  if route then give_back(route[6], now) end
  return token
end

-- Taken back without a charge: the first time, and from now on it runs alone.
local function send_alone(id, t)
  t.lapses = t.lapses + 1
  redis.call('HSET', k.tries, id, tries_text(t))
  wait_alone(id, false)
end

-- A crash is charged: back to run alone, or, at the limit, a dead letter. True if it ended.
local function charge(id, token, t, now, rules, outcome)
  t.attempts, t.crashes = t.attempts + 1, t.crashes + 1
  if t.crashes < rules.max_crashes then
    redis.call('HSET', k.tries, id, tries_text(t))
    wait_alone(id, false)
    return false
  end
  finish(id, 'f', token, outcome, rules.failed_ttl, now, rules.window)
  return true
end

-- A process that is gone is handed nothing any more; its entry goes with the tombstones.
local function close(process, now, window, holds_jobs)
  redis.call('HSET', k.claims, process, 'closed')
  if not holds_jobs then redis.call('ZREM', k.lease, process) end
  redis.call('ZADD', k.done, ms(now + window), process)
end
