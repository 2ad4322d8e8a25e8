#!lua flags=allow-oom
--- correct: what is wrong about a process, a unique key, a schedule, a limit or a counter (changes the place of no job but heirs')
-- ARGV: what it is about ('process' 'unique' 'schedule' 'limit' 'enqueued'), its name, how many running jobs are counted at most
-- Answer: 1 done; 0 it cannot be told now
-- Guarantees: what is right stays as it is.
-- KEYS: claims told lease done uniq tomb heirs lapses held slots guests active meta ready solo parked sched prio backlog away
-- @include schema
-- @include clock
-- @include route
-- @include lanes
-- @include unique
-- @include timetable
local what, name, now = ARGV[1], ARGV[2], clock()
local correct = {}

function correct.process()
  local claim = redis.call('HGET', k.claims, name)
  if claim == 'closed' then
    if not redis.call('ZSCORE', k.done, name) then redis.call('ZADD', k.done, ms(now + 3600000), name) end
  else
    redis.call('ZREM', k.done, name)
    if not claim then redis.call('HDEL', k.told, name) end
    if claim and not redis.call('ZSCORE', k.lease, name) then redis.call('ZADD', k.lease, ms(now), name) end
  end
  return 1
end

function correct.unique()
  local holder = redis.call('HGET', k.uniq, name)
  if holder and redis.call('ZSCORE', k.lapses, name) then return 1 end
  local route = holder and route_of(holder)
  if not holder or redis.call('HEXISTS', k.tomb, holder) == 1 or not route or route[2] ~= name then hand_over({name}, now) end
  return 1
end

function correct.schedule()
  remove_schedule(name)
  return 1
end

function correct.limit()
  local most = tonumber(ARGV[3])
  local members = redis.call('ZRANGEBYLEX', k.held, '-', '+', 'LIMIT', 0, most)
  local guests = redis.call('ZRANGEBYSCORE', k.guests, '-inf', '+inf', 'LIMIT', 0, most)
  if #members >= most or #guests >= most then return 0 end
  local taken = 0
  for _, member in ipairs(members) do
    local route = route_of(member:sub(9))
    for _, each in ipairs(route and redis.call('HEXISTS', k.active, member:sub(9)) == 1 and route[6] or {}) do
      if each[1] == name then taken = taken + each[2] end
    end
  end
  for _, guest in ipairs(guests) do
    if guest:sub(1, 33) == name then taken = taken + tonumber(guest:sub(34, 41)) end
  end
  if taken > 0 then redis.call('HSET', k.slots, name, taken) else redis.call('HDEL', k.slots, name) end
  pass_on(name, now)
  return 1
end

function correct.enqueued()
  local n = {}
  for i, text in ipairs(redis.call('HMGET', k.meta, 'ghosts', 'blocked', 'requeued', 'succeeded', 'failed', 'cancelled', 'expired')) do n[i] = tonumber(text or 0) end
  local places = redis.call('LLEN', k.ready) + redis.call('LLEN', k.solo) - n[1] + n[2] + redis.call('HLEN', k.active) + redis.call('HLEN', k.heirs) + redis.call('HLEN', k.away)
  places = places + redis.call('ZCARD', k.parked) + redis.call('ZCARD', k.sched) + redis.call('ZCARD', k.prio) + redis.call('ZCARD', k.backlog)
  redis.call('HSET', k.meta, 'enqueued', places + n[4] + n[5] + n[6] + n[7] - n[3])
  return 1
end

return correct[what]()
