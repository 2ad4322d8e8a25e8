-- The order among those that are not simply in `ready`: by priority, and then who came first; with `front`, before all
-- of the same priority that are there. A number for a ZSET, exact below 2^53.
-- KEYS: meta
local function rank(priority, front)
  local place = front and -redis.call('HINCRBY', k.meta, 'fronts', 1) or redis.call('HINCRBY', k.meta, 'tails', 1)
  return (100 - priority) * 2^45 + 2^44 + place
end
-- The least rank of a priority below 0.
local RANK_BELOW = 101 * 2^45
local RANK_OF_0 = 100 * 2^45
