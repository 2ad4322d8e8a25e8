-- A job that runs in another queue. Here, at home, it keeps its id and its message, and gets its outcome; `away` has its id over
-- there, another one for each journey. There it is a job like others, and `origin` has its id here and then this partition.
-- A traveller ends twice: there, which leaves nothing to read, and then here.
-- KEYS: away origin meta history
-- @include clock
-- @include route
-- @include parcels
-- @include baggage
-- The partition of this script, as `queue#number`.
local HERE = k.meta:match('/([^/]+)}:meta$')

local function set_queue(id, queue)
  local route = route_of(id) or no_route()
  route[8] = queue ~= HERE and queue or nil
  set_route(id, cmsgpack.pack(route))
end

local function is_away(id) return redis.call('HGET', k.away, id) end

-- Where a job that is away runs; '' where what says so was damaged.
local function runs_in(id) return (route_of(id) or no_route())[8] or '' end

local function send_away(id, route, now)
  local hash = redis.sha1hex(HERE .. id .. redis.call('HINCRBY', k.meta, 'trips', 1) .. ms(now))
  -- Ids sort by time, also over there.
  local there = id:sub(1, 6)
  for i = 1, 20, 2 do there = there .. string.char(tonumber(hash:sub(i, i + 1), 16)) end
  redis.call('HSET', k.away, id, there)
  post('g' .. there, {'go', route[8], there, id}, now)
end

-- What a traveller brings home: how it ended there, or, 'r', that it goes on elsewhere in so many ms.
local function send_home(id, letter, ttl, record, priority, queue, now)
  local from = redis.call('HGET', k.origin, id)
  post('b' .. id, {'back', from:sub(17), id, from:sub(1, 16), letter, ms(ttl), record, packed(id), priority, queue}, now)
  redis.call('HDEL', k.origin, id)
  redis.call('HDEL', k.history, id)
end
