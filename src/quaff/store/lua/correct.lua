#!lua flags=allow-oom
--- correct: what is wrong about a process, a unique key, a schedule, a limit, a lane, a flow or a counter (changes the place of no job
--   but heirs' and those that a flow tells to start or end)
-- ARGV: what it is about ('process' 'unique' 'schedule' 'limit' 'lane' 'flow' 'enqueued'), its name (of a lane: an entry of `backlog`),
--   how many running jobs, or nodes of a flow, are looked at at most, the job that is to hold a unique key that nobody holds, or ''
-- Answer: 1 done; 0 it cannot be told now
-- Guarantees: what is right stays as it is.
-- KEYS: claims told lease done uniq tomb heirs lapses held slots guests active meta ready solo parked sched prio backlog away turn stalled waits spot nodes msg
-- @include schema
-- @include clock
-- @include wake
-- @include route
-- @include lanes
-- @include unique
-- @include timetable
-- @include regain
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
  local route, other = holder and route_of(holder), route_of(ARGV[4])
  if not holder and other and other[2] == name and redis.call('HEXISTS', k.msg, ARGV[4]) == 1 and redis.call('HEXISTS', k.tomb, ARGV[4]) == 0 then
    hold(name, ARGV[4], other[7], now)
    return 1
  end
  if not holder or redis.call('HEXISTS', k.tomb, holder) == 1 or not route or route[2] ~= name then hand_over({name}, now) end
  return 1
end

function correct.schedule()
  remove_schedule(name)
  return 1
end

function correct.limit()
  if name:byte() ~= 99 then
    pass_on(name, now)
    return 1
  end
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

function correct.lane()
  local lane, order, id = name:sub(1, 16), name:sub(17, 24), name:sub(25)
  if redis.call('ZSCORE', k.backlog, name) then
    local other = redis.call('HGET', k.spot, id)
    if not (other and redis.call('ZSCORE', k.backlog, lane .. other .. id)) then
      redis.call('HSET', k.spot, id, order)
    elseif other ~= order then
      redis.call('ZREM', k.backlog, name)
    end
  end
  local entry = redis.call('HGET', k.stalled, lane)
  if #first_of(lane) > 0 and not redis.call('ZSCORE', k.turn, lane) and not (entry and redis.call('ZSCORE', k.waits, entry)) then
    redis.call('HDEL', k.stalled, lane)
    to_tail(lane)
    hint()
  end
  return 1
end

function correct.flow() return regain(name, tonumber(ARGV[3]), now) and 1 or 0 end

function correct.enqueued()
  if redis.call('EXISTS', k.nodes) == 0 then redis.call('HSET', k.meta, 'blocked', 0) end
  local n = {}
  for i, text in ipairs(redis.call('HMGET', k.meta, 'ghosts', 'blocked', 'requeued', 'succeeded', 'failed', 'cancelled', 'expired')) do n[i] = tonumber(text or 0) end
  local places = redis.call('LLEN', k.ready) + redis.call('LLEN', k.solo) - n[1] + n[2] + redis.call('HLEN', k.active) + redis.call('HLEN', k.heirs) + redis.call('HLEN', k.away)
  places = places + redis.call('ZCARD', k.parked) + redis.call('ZCARD', k.sched) + redis.call('ZCARD', k.prio) + redis.call('ZCARD', k.backlog)
  redis.call('HSET', k.meta, 'enqueued', places + n[4] + n[5] + n[6] + n[7] - n[3])
  return 1
end

return correct[what]()
