-- A job that is to run alone waits, at the tail or at the `front`: all that are busy hear of it once more.
-- KEYS: solo meta
local function wait_alone(id, front)
  if front then redis.call('RPUSH', k.solo, id) else redis.call('LPUSH', k.solo, id) end
  redis.call('HDEL', k.meta, 'solo_told')
end
