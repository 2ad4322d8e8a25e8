-- `route` has what a job asks for beyond a place in the one line of all others, as long as its message is kept:
-- {priority, unique key or '', when that is free again ('start' 'done' 'time'), lane or '', weight, {{limit, cost}, ...},
-- `queue#number` of the partition in which it runs, where that is another one}.
-- KEYS: route
local routed = nil
local function route_of(id)
  if routed == nil then routed = redis.call('EXISTS', k.route) == 1 end
  local text = routed and redis.call('HGET', k.route, id)
  return text and cmsgpack.unpack(text)
end

-- Of many jobs, by id; nothing for those that ask for nothing.
local function routes_of(ids)
  if routed == nil then routed = redis.call('EXISTS', k.route) == 1 end
  local routes = {}
  for i, text in ipairs(routed and #ids > 0 and redis.call('HMGET', k.route, unpack(ids)) or {}) do
    if text then routes[ids[i]] = cmsgpack.unpack(text) end
  end
  return routes
end

local function set_priority(id, priority)
  local route = route_of(id) or {0, '', 'done', '', 1, {}}
  route[1] = priority
  redis.call('HSET', k.route, id, cmsgpack.pack(route))
  routed = true
end

local function set_route(id, text)
  redis.call('HSET', k.route, id, text)
  routed = true
end
