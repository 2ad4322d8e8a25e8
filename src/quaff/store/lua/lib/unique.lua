-- `uniq` has, by key, the one job that holds it, `lapses` when it does no more whatever becomes of that job, and `heirs` the
-- one that is blocked until the holder has ended, after 13 digits of the time it is due.
-- KEYS: uniq lapses heirs
-- @include clock
-- @include followed
-- @include route
-- @include place

-- The job that holds a key now, or nil, and then whether one did until its time was over.
local function holder_of(key, now)
  local id = redis.call('HGET', k.uniq, key)
  local lapses = id and redis.call('ZSCORE', k.lapses, key)
  if lapses and tonumber(lapses) <= now then return nil, true end
  return id or nil
end

-- For so many ms at most, where that is not 0.
local function hold(key, id, for_ms, now)
  redis.call('HSET', k.uniq, key, id)
  if for_ms > 0 then redis.call('ZADD', k.lapses, ms(now + for_ms), key) else redis.call('ZREM', k.lapses, key) end
end

-- The holders of keys hold them no more: their heirs do, or nobody.
local function hand_over(keys, now)
  if redis.call('EXISTS', k.lapses) == 1 then redis.call('ZREM', k.lapses, unpack(keys)) end
  if redis.call('EXISTS', k.heirs) == 0 then
    redis.call('HDEL', k.uniq, unpack(keys))
    return
  end
  for i, heir in ipairs(redis.call('HMGET', k.heirs, unpack(keys))) do
    if not heir then
      redis.call('HDEL', k.uniq, keys[i])
    else
      local due, id = tonumber(heir:sub(1, 13)) or 0, heir:sub(14)
      redis.call('HDEL', k.heirs, keys[i])
      local route = route_of(id)
      hold(keys[i], id, route and route[7] or 0, now)
      start_waiting(id, due, now)
      happened({id}, 'e')
    end
  end
end

-- What jobs that start or end hold is free; their heirs take their place. `routes` by id; `event` is 'start' or 'done'.
local function let_go(routes, event, now)
  local ids, keys, free = {}, {}, {}
  for id, route in pairs(routes) do
    if route[2] ~= '' and route[3] ~= 'time' and (event == 'done' or route[3] == 'start') then
      ids[#ids + 1] = id
      keys[#keys + 1] = route[2]
    end
  end
  if #keys == 0 then return end
  for i, holder in ipairs(redis.call('HMGET', k.uniq, unpack(keys))) do
    if holder == ids[i] then free[#free + 1] = keys[i] end
  end
  if #free > 0 then hand_over(free, now) end
end
