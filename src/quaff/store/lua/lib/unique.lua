-- `uniq` has, by key, the one job that holds it, `lapses` when it does no more whatever becomes of that job, and `heirs` the
-- one that is blocked until the holder has ended, after 13 digits of the time it is due.
-- KEYS: uniq lapses heirs
-- @include clock
-- @include place

-- The job that holds a key now, or nil.
local function holder_of(key, now)
  local id = redis.call('HGET', k.uniq, key)
  local lapses = id and redis.call('ZSCORE', k.lapses, key)
  if lapses and tonumber(lapses) <= now then return nil end
  return id or nil
end

local function hold(key, id, until_ms)
  redis.call('HSET', k.uniq, key, id)
  if until_ms > 0 then redis.call('ZADD', k.lapses, ms(until_ms), key) else redis.call('ZREM', k.lapses, key) end
end

-- The holder of a key holds it no more: its heir does, or nobody.
local function hand_over(key, now)
  local heir = redis.call('HGET', k.heirs, key)
  redis.call('ZREM', k.lapses, key)
  if not heir then
    redis.call('HDEL', k.uniq, key)
    return
  end
  local due, id = tonumber(heir:sub(1, 13)), heir:sub(14)
  redis.call('HDEL', k.heirs, key)
  redis.call('HSET', k.uniq, key, id)
  start_waiting(id, due, now)
end

-- What a job that starts or ends holds is free; its heir takes its place. `event` is 'start' or 'done'.
local function let_go(id, route, event, now)
  local key, until_event = route[2], route[3]
  if key == '' or until_event == 'time' or (event == 'start' and until_event ~= 'start') then return end
  if redis.call('HGET', k.uniq, key) == id then hand_over(key, now) end
end
