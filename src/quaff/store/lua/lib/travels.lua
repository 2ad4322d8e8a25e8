-- Whether a job is at home in another queue: `origin` has where (see away).
-- KEYS: origin
local travellers = nil
local function travels(id)
  if travellers == nil then travellers = redis.call('EXISTS', k.origin) == 1 end
  return travellers and redis.call('HEXISTS', k.origin, id) == 1
end
