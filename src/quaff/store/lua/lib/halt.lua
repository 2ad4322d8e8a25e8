-- Asks a job to stop that runs, here or in another queue. The reason that was given first is the one that is kept.
-- KEYS: stop active
-- @include clock
-- @include parcels
-- @include away
local function under_way(id) return redis.call('HEXISTS', k.active, id) == 1 or is_away(id) end

local function ask_to_stop(id, outcome, ttl, window, now)
  if redis.call('HSETNX', k.stop, id, ttl .. ' ' .. window .. ' ' .. outcome) == 0 then return end
  local there = is_away(id)
  if there then
    -- After the journey itself, where that has not been announced.
    post('c' .. there, {'cancel', runs_in(id), there, id, ms(ttl), ms(window), outcome}, now + 1)
  else
    redis.call('PUBLISH', k.stop, '')
  end
end
