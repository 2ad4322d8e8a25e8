-- Ends a job that waits, asks one that runs; the letter that cancel answers.
-- KEYS: tomb msg flows
-- @include withdraw
-- @include halt
-- @include parcels
-- @include away
-- @include end
local function call_off(id, outcome, ttl, window, now)
  local over = redis.call('HGET', k.tomb, id)
  if over then return over:sub(1, 1):lower() end
  if redis.call('HEXISTS', k.flows, id .. 'open') == 1 then
    -- What waits for others ends when it would start, at the latest; whoever asks goes through all of it at once.
    if redis.call('HSETNX', k.flows, id .. 'stop', ttl .. ' ' .. window .. ' ' .. outcome) == 1 then
      post('h' .. id, {'advance', HERE, 'stop', id, '0'}, now)
    end
    return 'r'
  end
  if under_way(id) then
    ask_to_stop(id, outcome, ttl, window, now)
    return 'r'
  end
  if redis.call('HEXISTS', k.msg, id) == 0 then return '' end
  withdraw(id, now)
  finish(id, 'c', '', outcome, ttl, now, window)
  return 'c'
end
