-- Gives a job another priority. Where it waits in line now, it goes to its new place there: true.
-- KEYS: tries sched parked
-- @include tries
-- @include route
-- @include place
-- @include heirs
-- @include withdraw
-- @include halt
-- @include nodes
local function reprioritize(id, priority, now)
  local route = route_of(id)
  if (route and route[1] or 0) == priority then return false end
  local t = read_tries(redis.call('HGET', k.tries, id))
  local stays = under_way(id) or waits_in_flow(id) or redis.call('ZSCORE', k.sched, id) or redis.call('ZSCORE', k.parked, id)
    or runs_alone(t) or follows(id, route)
  if not stays then withdraw(id, now) end
  set_priority(id, priority)
  if not stays then place(id, t, false) end
  return not stays
end
