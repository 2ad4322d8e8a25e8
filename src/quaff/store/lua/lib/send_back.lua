-- Sends dead letters back; what `requeue` answers for one. Whoever calls it says `hint` and counts.
-- KEYS: tomb msg res done
-- @include tries
-- @include route
-- @include place
-- @include unique
-- @include history
-- @include dead
-- @include nodes
local function send_back(id, now)
  local ended = redis.call('HGET', k.tomb, id)
  local kept = redis.call('HEXISTS', k.msg, id) == 1
  local route = kept and route_of(id)
  if not ended then return kept and 'n' or '' end
  if ended:sub(1, 1) ~= 'f' or not kept then return ended:sub(1, 1):lower() end
  local taken = route and route[2] ~= '' and holder_of(route[2], now)
  if (taken and taken ~= id) or is_node(id) then return 'u' end
  unlist(id)
  local record = redis.call('HGET', k.res, id)
  if record then remember(id, record) end
  redis.call('HDEL', k.tomb, id)
  redis.call('HDEL', k.res, id)
  redis.call('ZREM', k.done, id)
  if route and route[2] ~= '' and route[3] ~= 'time' then hold(route[2], id, route[7], now) end
  place(id, read_tries(nil), false)
  return 'q'
end
