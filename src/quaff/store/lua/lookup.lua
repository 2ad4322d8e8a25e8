#!lua flags=no-writes,allow-oom
--- lookup: where one job is (changes nothing)
-- ARGV: id, 1 for everything that is known of it
-- Answer: {state, token or tombstone, record, message, history, progress of the running attempt}; message and history only if
--   asked for; state is
--   'running' 'queued' 'parked' 'blocked', 'scheduled' or 'retrying' (detail: ms of the time it is due), 'away' (detail: its id where it runs, and that partition),
--   'flow' (a flow that has not ended), 'ended', or '' for an id that nobody knows
-- KEYS: flows msg history prog active tomb done res parked sched tries
-- @include schema
-- @include clock
-- @include tries
-- @include route
-- @include heirs
-- @include away
-- @include nodes

local id, all = ARGV[1], ARGV[2] == '1'
local function with(state, detail, record)
  local message, history = all and redis.call('HGET', k.msg, id) or '', all and redis.call('HGET', k.history, id) or ''
  return {state, detail or '', record or '', message, history, state == 'running' and redis.call('HGET', k.prog, id) or ''}
end

local token = redis.call('HGET', k.active, id)
if token then return with('running', token) end
local ended = redis.call('HGET', k.tomb, id)
if ended then
  -- A result that is due is gone for everybody at that moment, whenever the next sweep comes, if one comes.
  local due = redis.call('ZSCORE', k.done, id)
  local kept = not due or tonumber(due) > clock()
  return with('ended', ended, kept and redis.call('HGET', k.res, id))
end
local there = is_away(id)
if there then return with('away', there .. route_of(id)[7]) end
if redis.call('ZSCORE', k.parked, id) then return with('parked') end
local at = redis.call('ZSCORE', k.sched, id)
if at then return with(read_tries(redis.call('HGET', k.tries, id)).failures > 0 and 'retrying' or 'scheduled', ms(tonumber(at))) end
if redis.call('HEXISTS', k.msg, id) == 1 then return with((follows(id, route_of(id)) or waits_in_flow(id)) and 'blocked' or 'queued') end
if redis.call('HEXISTS', k.flows, id .. 'open') == 1 then return with('flow') end
return with('')
