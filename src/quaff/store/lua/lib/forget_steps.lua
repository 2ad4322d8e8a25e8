-- What a job remembers and what it was sent go with it.
-- KEYS: steps signals
local function forget_steps(ids)
  if redis.call('EXISTS', k.steps, k.signals) == 0 then return end
  redis.call('HDEL', k.steps, unpack(ids))
  redis.call('HDEL', k.signals, unpack(ids))
end
