-- Dead letters by the time they were given up; `meta.dead_bytes` is what they take together, `meta.dead_msgs` their messages of that.
-- KEYS: msg res history steps signals dead meta route tomb done
-- @include clock
-- @include tail
local function size_of(id)
  local size = tail_bytes(id)
  for _, key in ipairs({k.msg, k.res, k.history, k.steps, k.signals}) do size = size + redis.call('HSTRLEN', key, id) end
  return size
end

local function weigh(id, sign)
  redis.call('HINCRBY', k.meta, 'dead_bytes', sign * size_of(id))
  redis.call('HINCRBY', k.meta, 'dead_msgs', sign * redis.call('HSTRLEN', k.msg, id))
end

-- Onto the list, when all of it is stored.
local function list(id, now)
  redis.call('ZADD', k.dead, ms(now), id)
  weigh(id, 1)
end

-- Off the list, while all of it is still stored.
local function unlist(id)
  if redis.call('ZREM', k.dead, id) == 1 then weigh(id, -1) end
end

-- All of it goes; the tombstone keeps its time, so that nothing that comes late revives the job.
local function drop(id)
  unlist(id)
  for _, key in ipairs({k.msg, k.route, k.res, k.history, k.steps, k.signals}) do redis.call('HDEL', key, id) end
  forget_tails({id})
  local tomb = redis.call('HGET', k.tomb, id)
  if tomb then redis.call('ZADD', k.done, tonumber(tomb:sub(2, 14)) and tomb:sub(2, 14) or 0, id) end
end
