-- Puts a job in line: elsewhere, where it runs there; after a crash in `solo`, into its lane, by its priority, or, as nearly all, in
-- `ready`; at the tail, or
-- at the `front`. `t` are its tries.
-- KEYS: prio ready sched tries
-- @include clock
-- @include wake
-- @include tries
-- @include route
-- @include rank
-- @include lanes
-- @include away
-- @include lonely
local function place(id, t, front)
  local route = route_of(id)
  if route and route[8] then
    send_away(id, route, clock())
  elseif runs_alone(t) then
    wait_alone(id, front)
  elseif route and route[4] ~= '' then
    enter_lane(id, route, front)
  elseif route and route[1] ~= 0 then
    redis.call('ZADD', k.prio, ms(rank(route[1], front)), id)
  elseif front then
    redis.call('RPUSH', k.ready, id)
  else
    redis.call('LPUSH', k.ready, id)
  end
end

-- A job waits for its time, or in line. Whoever waits for work must know of a new earliest one.
local function start_waiting(id, due, now)
  if due > now then
    redis.call('ZADD', k.sched, ms(due), id)
    if redis.call('ZRANK', k.sched, id) == 0 then hint() end
  else
    place(id, read_tries(redis.call('HGET', k.tries, id)), false)
    hint()
  end
end
