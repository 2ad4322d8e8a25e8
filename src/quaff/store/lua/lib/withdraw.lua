-- Takes a waiting job out of wherever it waits.
-- KEYS: parked sched tries heirs prio spot
-- @include tries
-- @include route
-- @include lanes
-- @include ghosts
-- @include heirs
-- @include nodes
local function withdraw(id, now)
  if waits_in_flow(id) then return end
  if redis.call('ZREM', k.parked, id) + redis.call('ZREM', k.sched, id) > 0 then return end
  local alone = runs_alone(read_tries(redis.call('HGET', k.tries, id)))
  local route = route_of(id)
  if follows(id, route) then
    redis.call('HDEL', k.heirs, route[2])
  elseif route and not alone and route[4] ~= '' then
    leave_lane(id, route, now)
  elseif alone or redis.call('ZREM', k.prio, id) + (route and redis.call('HDEL', k.spot, id) or 0) == 0 then
    leave_ghost(id, alone)
  end
end
