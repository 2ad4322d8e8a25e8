#!lua flags=allow-oom
--- purge: queued -> cancelled, and with 'scheduled' scheduled | retrying -> cancelled; one step
-- ARGV: outcome to store, its ttl in ms, tombstone window in ms, most jobs in one call, '1' with what is scheduled
-- Answer: {how many, how many still wait}; whoever takes the steps writes them down (`record`)
-- Guarantees: as cancel. What is sent meanwhile may be among them.
-- KEYS: msg backlog prio parked sched ready solo
-- @include schema
-- @include clock
-- @include ghosts
-- @include withdraw
-- @include end
local outcome, ttl, window, most, now = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), clock()
local gone = 0

local function end_all(ids)
  for _, id in ipairs(ids) do
    if redis.call('HEXISTS', k.msg, id) == 1 then
      finish(id, 'c', '', outcome, ttl, now, window)
      gone = gone + 1
    end
  end
  return #ids > 0
end

local function withdraw_all(ids)
  for _, id in ipairs(ids) do withdraw(id, now) end
  return end_all(ids)
end

local function lanes()
  local ids = {}
  for _, member in ipairs(redis.call('ZRANGEBYLEX', k.backlog, '-', '+', 'LIMIT', 0, most)) do ids[#ids + 1] = member:sub(25) end
  return ids
end

local function by_time(key) return redis.call('ZRANGEBYSCORE', key, '-inf', '+inf', 'LIMIT', 0, most) end

-- One place a call, those that are handed out first, first.
local _ = end_all(pop_ready(most)) or end_all({pop_solo()}) or withdraw_all(by_time(k.prio)) or withdraw_all(lanes())
  or withdraw_all(by_time(k.parked)) or (ARGV[5] == '1' and withdraw_all(by_time(k.sched)))
return {gone, redis.call('LLEN', k.ready) + redis.call('LLEN', k.solo) + redis.call('ZCARD', k.prio) + redis.call('ZCARD', k.backlog)
  + redis.call('ZCARD', k.parked) + (ARGV[5] == '1' and redis.call('ZCARD', k.sched) or 0)}
