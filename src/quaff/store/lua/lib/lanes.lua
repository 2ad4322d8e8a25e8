-- Jobs with `fair_by=` or limits wait in lanes: those of one lane have the same fair key and the same limits, so that
-- where one has to wait, all do. `backlog` has "lane rank id" (16, 8 and 16 bytes) in the order of each lane, `spot` the rank by id.
-- A lane with work is in `turn`, and lanes take turns; or a limit keeps it, and it is in line there: `waits` has "limit place lane",
-- `stalled` that entry by lane, `opens` when a limit lets the first one in line through. A place, in both, is the number of when the
-- lane last came to the tail. Where there is room for the first in line, it is called: it is in `turn` again, keeps its place in
-- line meanwhile, and none that came later is let past it, however little it asks for.
-- Whoever takes a lane out of `turn`, or something out of a limit, calls the next one at its limits (`pass_on`).
-- KEYS: turn meta backlog waits opens stalled credit spot
-- @include clock
-- @include wake
-- @include route
-- @include rank
-- @include limits
local function to_tail(lane)
  redis.call('ZADD', k.turn, ms(redis.call('HINCRBY', k.meta, 'tails', 1)), lane)
end

-- Up to two members of a lane's backlog.
local function first_of(lane)
  return redis.call('ZRANGEBYLEX', k.backlog, '[' .. lane, '(' .. lane .. '\255', 'LIMIT', 0, 2)
end

local function first_in_line(limit)
  return redis.call('ZRANGEBYLEX', k.waits, '[' .. limit, '(' .. limit .. '\255', 'LIMIT', 0, 1)[1]
end

local function place_in(entry) return #entry >= 41 and struct.unpack('>I8', entry:sub(34, 41)) or 0 end

-- Whether anybody stands in line: where nobody does, which is the rule, nobody has to be looked for.
local in_line = nil
local function anybody_in_line()
  if in_line == nil then in_line = redis.call('EXISTS', k.waits) == 1 end
  return in_line
end

local function leave_line(lane)
  local entry = anybody_in_line() and redis.call('HGET', k.stalled, lane)
  if not entry then return end
  redis.call('ZREM', k.waits, entry)
  redis.call('HDEL', k.stalled, lane)
end

-- Not later than in a minute: the numbers may be others by then.
local function opens_in(limit, wait, now)
  if wait > 0 then redis.call('ZADD', k.opens, ms(now + math.min(wait, 60000)), limit) end
end

-- nil for a lane that has no job.
local function cost_of(lane, limit)
  local first = first_of(lane)[1]
  local route = first and route_of(first:sub(-16))
  for _, each in ipairs(route and route[6] or {}) do
    if each[1] == limit then return each[2] end
  end
  return first and 1  -- what says so was damaged
end

-- Calls the first lane in line at a limit if there is room for it, or notes when there will be.
local function pass_on(limit, now)
  for _ = 1, 10 do
    local first = anybody_in_line() and first_in_line(limit)
    local lane = first and first:sub(-16)
    if not first or redis.call('ZSCORE', k.turn, lane) then return end
    local cost = cost_of(lane, limit)
    if cost then
      local wait = wait_for(limit, cost, now)
      if wait == 0 then
        redis.call('ZADD', k.turn, ms(place_in(first)), lane)
        hint()
      else
        opens_in(limit, wait, now)
      end
      return
    end
    -- An entry that was damaged would stand before all others for ever.
    redis.call('ZREM', k.waits, first)
  end
end

local function pass_all_on(limits, now, but)
  if not anybody_in_line() then return end
  for _, each in ipairs(limits) do
    if each[1] ~= but then pass_on(each[1], now) end
  end
end

-- A lane that has its turn since `came` has to wait at a limit.
local function stall(lane, limit, came, now)
  redis.call('ZREM', k.turn, lane)
  redis.call('HDEL', k.credit, lane)
  local entry = anybody_in_line() and redis.call('HGET', k.stalled, lane)
  if not entry or entry:sub(1, 33) ~= limit then
    leave_line(lane)
    entry = limit .. struct.pack('>I8', came) .. lane
    redis.call('ZADD', k.waits, 0, entry)
    in_line = true
    redis.call('HSET', k.stalled, lane, entry)
  end
  pass_on(limit, now)
end

-- The limit that keeps a job waiting, and for how long; nothing if none does. One at which somebody waits since before this one's
-- lane `came` to its turn keeps it, too.
local function kept_by(limits, now, lane, came)
  if #limits == 0 then return end
  read_limits(limits)
  for _, each in ipairs(limits) do
    local wait = wait_for(each[1], each[2], now)
    if wait ~= 0 then return each[1], wait end
    local first = lane and anybody_in_line() and first_in_line(each[1])
    if first and first:sub(-16) ~= lane and place_in(first) < came then return each[1], 0 end
  end
end

local function take_all(limits, now)
  for _, each in ipairs(limits) do take(each[1], each[2], now) end
end

-- A job that ran gives back what it held of its limits; one that was `unstarted`, also what it took of a rate.
local function give_back(limits, now, unstarted)
  for _, each in ipairs(limits) do
    if each[1]:byte() == 99 then
      use(each[1], -each[2])
    elseif unstarted then
      untake(each[1], each[2], now)
    end
  end
  pass_all_on(limits, now)
end

local function enter_lane(id, route, front)
  local lane, order = route[4], struct.pack('>I8', rank(route[1], front))
  redis.call('ZADD', k.backlog, 0, lane .. order .. id)
  redis.call('HSET', k.spot, id, order)
  if redis.call('HEXISTS', k.stalled, lane) == 0 and not redis.call('ZSCORE', k.turn, lane) then to_tail(lane) end
end

local function leave_lane(id, route, now)
  local lane, order = route[4], redis.call('HGET', k.spot, id) or ''
  redis.call('ZREM', k.backlog, lane .. order .. id)
  redis.call('HDEL', k.spot, id)
  if #first_of(lane) == 0 then
    redis.call('ZREM', k.turn, lane)
    redis.call('HDEL', k.credit, lane)
    leave_line(lane)
    pass_all_on(route[6], now)
  end
end

-- Limits whose time has come call the next lane; how many.
local function open_due(now, most)
  local due = redis.call('ZRANGEBYSCORE', k.opens, '-inf', ms(now), 'LIMIT', 0, most)
  for _, limit in ipairs(due) do
    redis.call('ZREM', k.opens, limit)
    pass_on(limit, now)
  end
  return #due
end
