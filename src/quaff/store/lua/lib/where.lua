-- Where a job is: its state, as lookup has it, the detail, and whether its outcome is still kept.
-- KEYS: flows msg active tomb done parked sched tries
-- @include clock
-- @include tries
-- @include route
-- @include heirs
-- @include away
-- @include nodes
-- @include awaited
local function where_is(id)
  local token = redis.call('HGET', k.active, id)
  if token then return 'running', token, false end
  local ended = redis.call('HGET', k.tomb, id)
  if ended then
    -- A result that is due is gone for everybody at that moment, whenever the next sweep comes, if one comes.
    local due = redis.call('ZSCORE', k.done, id)
    return 'ended', ended, not due or tonumber(due) > clock()
  end
  local there = is_away(id)
  if there then return 'away', there .. runs_in(id), false end
  if redis.call('ZSCORE', k.parked, id) then return 'parked', '', false end
  local at = redis.call('ZSCORE', k.sched, id)
  if at then
    local retrying = read_tries(redis.call('HGET', k.tries, id)).failures > 0 and not awaited(id, tonumber(at))
    return retrying and 'retrying' or 'scheduled', ms(tonumber(at)), false
  end
  if redis.call('HEXISTS', k.msg, id) == 1 then
    return (follows(id, route_of(id)) or waits_in_flow(id)) and 'blocked' or 'queued', '', false
  end
  return redis.call('HEXISTS', k.flows, id .. 'head') == 1 and 'flow' or '', '', false
end
