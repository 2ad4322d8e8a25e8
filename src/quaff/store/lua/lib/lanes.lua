-- Jobs with `fair_by=` or limits wait in lanes: those of one lane have the same fair key and the same limits, so that
-- where one has to wait, all do. `backlog` has "lane rank id" (16, 8 and 16 bytes) in the order of each lane, `spot` the rank by id.
-- A lane with work is in `turn`, and lanes take turns; or it is stalled, and in line at the limit that keeps it: `waits` has
-- "limit place lane", `stalled` that entry by lane, `opens` when a limit lets the next one through. Whoever takes a lane
-- out of `turn`, or something out of a limit, sees to it that the next one at its limits hears of room (`pass_on`).
-- KEYS: turn meta backlog waits opens stalled credit slots spot
-- @include clock
-- @include wake
-- @include rank
-- @include limits
local function to_tail(lane)
  redis.call('ZADD', k.turn, ms(redis.call('HINCRBY', k.meta, 'tails', 1)), lane)
end

-- Up to two members of a lane's backlog.
local function first_of(lane)
  return redis.call('ZRANGEBYLEX', k.backlog, '[' .. lane, '(' .. lane .. '\255', 'LIMIT', 0, 2)
end

-- The first lane in line at a limit takes its turn if there is room for it, or will at the time there is.
local function pass_on(limit, now)
  for _ = 1, 100 do
    local first = redis.call('ZRANGEBYLEX', k.waits, '[' .. limit, '(' .. limit .. '\255', 'LIMIT', 0, 1)[1]
    if not first then return end
    local wait = wait_for(limit, 1, now)
    if wait ~= 0 then
      if wait > 0 then redis.call('ZADD', k.opens, ms(now + wait), limit) end
      return
    end
    local lane = first:sub(-16)
    redis.call('ZREM', k.waits, first)
    redis.call('HDEL', k.stalled, lane)
    if #first_of(lane) > 0 then
      to_tail(lane)
      hint()
      return
    end
  end
end

local function pass_all_on(limits, now, but)
  if redis.call('EXISTS', k.waits) == 0 then return end
  for _, each in ipairs(limits) do
    if each[1] ~= but then pass_on(each[1], now) end
  end
end

local function stall(lane, limit, wait, now)
  local entry = limit .. struct.pack('>I8', redis.call('HINCRBY', k.meta, 'tails', 1)) .. lane
  redis.call('ZREM', k.turn, lane)
  redis.call('HDEL', k.credit, lane)
  redis.call('ZADD', k.waits, 0, entry)
  redis.call('HSET', k.stalled, lane, entry)
  if wait > 0 then redis.call('ZADD', k.opens, 'LT', ms(now + wait), limit) end
end

-- The limit that keeps a job waiting, and for how long; nothing if none does.
local function kept_by(limits, now)
  for _, each in ipairs(limits) do
    local wait = wait_for(each[1], each[2], now)
    if wait ~= 0 then return each[1], wait end
  end
end

local function take_all(limits, now)
  for _, each in ipairs(limits) do take(each[1], each[2], now) end
end

-- A job that ran gives back what it held of its limits.
local function give_back(limits, now)
  for _, each in ipairs(limits) do
    if each[1]:byte() == 99 and redis.call('HINCRBY', k.slots, each[1], -each[2]) <= 0 then
      redis.call('HDEL', k.slots, each[1])
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
  local lane, order = route[4], redis.call('HGET', k.spot, id)
  redis.call('ZREM', k.backlog, lane .. order .. id)
  redis.call('HDEL', k.spot, id)
  if #first_of(lane) == 0 and redis.call('ZREM', k.turn, lane) == 1 then
    redis.call('HDEL', k.credit, lane)
    pass_all_on(route[6], now)
  end
end

-- Limits whose time has come let the next lane have its turn.
local function open_due(now)
  local due = redis.call('ZRANGEBYSCORE', k.opens, '-inf', ms(now), 'LIMIT', 0, 100)
  for _, limit in ipairs(due) do
    redis.call('ZREM', k.opens, limit)
    pass_on(limit, now)
  end
end
