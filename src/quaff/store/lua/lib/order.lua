-- Who comes next: priorities above 0, then `ready` and the lanes by halves, then priorities below 0.
-- KEYS: prio credit turn backlog spot ready meta
-- @include clock
-- @include route
-- @include rank
-- @include lanes
-- @include ghosts
local function take_ranked(ids, most, below)
  local first = redis.call('ZRANGEBYSCORE', k.prio, '-inf', '(' .. ms(below), 'LIMIT', 0, most)
  if #first == 0 then return end
  redis.call('ZREM', k.prio, unpack(first))
  for _, id in ipairs(first) do ids[#ids + 1] = id end
end

-- A lane has had its turn: it goes to the tail of those that have work, or, with a weight, stays until it had as many.
local function rotate(lane, weight, has_more)
  local left = weight > 1 and has_more and (tonumber(redis.call('HGET', k.credit, lane)) or weight) - 1 or 0
  if left > 0 then
    redis.call('HSET', k.credit, lane, left)
    return
  end
  if weight > 1 then redis.call('HDEL', k.credit, lane) end
  if has_more then to_tail(lane) else redis.call('ZREM', k.turn, lane) end
end

-- How many lanes, and jobs that are due, this claim may look at: each costs the server three times what a plain job does, and more
-- with limits, above all where somebody stands in line at them.
local looks = 100

-- Takes turns among the lanes. What has a limit must start at once, so there is room for it only in `free` slots.
local function take_turns(ids, most, free, now)
  local until_count = #ids + most
  for _ = 1, looks do
    if #ids >= until_count or looks < 1 then return end
    local lane, came = unpack(redis.call('ZRANGEBYSCORE', k.turn, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1))
    if not lane then return end
    local backlog = first_of(lane)
    -- Where something was damaged, a lane may have none, and what was called off may be there still: no job, as `hand_out` sees.
    local entry = backlog[1] or ''
    local id = entry:sub(-16)
    local route = route_of(id) or no_route()
    local limits = route[6]
    looks = looks - 1 - #limits * (anybody_in_line() and 1.2 or 0.8)
    if #limits > 0 and #ids >= free then return end
    local limit = kept_by(limits, now, lane, tonumber(came))
    if limit then
      stall(lane, limit, tonumber(came), now)
      pass_all_on(limits, now, limit)
    else
      take_all(limits, now)
      if #limits > 0 then leave_line(lane) end
      redis.call('ZREM', k.backlog, entry)
      redis.call('HDEL', k.spot, id)
      rotate(lane, route[5], #backlog > 1)
      if #limits > 0 then pass_all_on(limits, now) end
      ids[#ids + 1] = id
    end
  end
end

-- Up to so many ids. Those with limits come before all that may wait in the worker.
local function next_in_line(most, free, now)
  local ids = {}
  take_ranked(ids, most, RANK_OF_0)
  if #ids < most and redis.call('EXISTS', k.turn) == 1 then
    local room = most - #ids
    local half = math.floor(room / 2)
    if redis.call('LLEN', k.ready) == 0 then
      half = room
    elseif room % 2 == 1 then
      half = half + redis.call('HINCRBY', k.meta, 'halves', 1) % 2
    end
    if half > 0 then take_turns(ids, half, free, now) end
  end
  if #ids < most then
    for _, id in ipairs(pop_ready(most - #ids)) do ids[#ids + 1] = id end
  end
  if #ids < most then take_turns(ids, most - #ids, free, now) end
  if #ids < most then take_ranked(ids, most - #ids, 2^53) end
  return ids
end
