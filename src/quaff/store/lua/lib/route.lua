-- `route` has what a job asks for beyond a place in the one line of all others, as long as its message is kept:
-- {priority, unique key or '', when that is free again ('start' 'done' 'time'), lane or '', weight, {{limit, cost}, ...},
-- ms for which it holds the unique key at most or 0, `queue#number` of the partition in which it runs, where that is another one}.
-- One that was damaged asks for nothing.
-- KEYS: route
-- @include sound
local ROUTE, LIMITED = {'number', 'string', 'string', 'string', 'number', 'table', 'number'}, {'string', 'number'}
local function no_route() return {0, '', 'done', '', 1, {}, 0} end
local function read_route(text) return sound(text, ROUTE, 6, LIMITED) or no_route() end

local routed = nil
-- What this call has read already, by id.
local routes_read = {}

-- Of many jobs, by id; nothing for those that ask for nothing.
local function routes_of(ids)
  if routed == nil then routed = redis.call('EXISTS', k.route) == 1 end
  local routes, unread = {}, {}
  if not routed then return routes end
  for _, id in ipairs(ids) do
    routes[id] = routes_read[id]
    if not routes[id] then unread[#unread + 1] = id end
  end
  for i, text in ipairs(#unread > 0 and redis.call('HMGET', k.route, unpack(unread)) or {}) do
    if text then
      routes_read[unread[i]] = read_route(text)
      routes[unread[i]] = routes_read[unread[i]]
    end
  end
  return routes
end

local function route_of(id)
  if routed == nil then routed = redis.call('EXISTS', k.route) == 1 end
  if not routed then return nil end
  if routes_read[id] then return routes_read[id] end
  local text = redis.call('HGET', k.route, id)
  if not text then return nil end
  routes_read[id] = read_route(text)
  return routes_read[id]
end

local function set_route(id, text)
  redis.call('HSET', k.route, id, text)
  routed, routes_read[id] = true, nil
end

local function set_priority(id, priority)
  local route = route_of(id) or no_route()
  route[1] = priority
  set_route(id, cmsgpack.pack(route))
end

local function forget_routes(ids)
  redis.call('HDEL', k.route, unpack(ids))
  for _, id in ipairs(ids) do routes_read[id] = nil end
end
