-- Who leaves a list early cannot be found in it: the entry stays there and is counted as a ghost, for each list apart, and
-- whoever comes to it drops it. A job that was stored again since stands further behind.
-- KEYS: ghosts meta ready solo
local function ghost_of(id, of_solo) return (of_solo and '!' or '') .. id end

local function leave_ghost(id, of_solo)
  redis.call('HINCRBY', k.ghosts, ghost_of(id, of_solo), 1)
  redis.call('HINCRBY', k.meta, 'ghosts', 1)
end

-- Without the ghosts among them.
local function living(popped, of_solo)
  if not popped or redis.call('EXISTS', k.ghosts) == 0 then return popped or {} end
  local ids = {}
  for _, id in ipairs(popped) do
    local ghost = ghost_of(id, of_solo)
    if redis.call('HEXISTS', k.ghosts, ghost) == 0 then
      ids[#ids + 1] = id
    else
      if redis.call('HINCRBY', k.ghosts, ghost, -1) == 0 then redis.call('HDEL', k.ghosts, ghost) end
      redis.call('HINCRBY', k.meta, 'ghosts', -1)
    end
  end
  return ids
end

local function pop_ready(most) return living(redis.call('RPOP', k.ready, most), false) end

local function pop_solo()
  for _ = 1, 100 do
    local popped = redis.call('RPOP', k.solo, 1)
    local id = living(popped, true)[1]
    if id or not popped then return id end
  end
end
