#!lua flags=allow-oom
--- mend: a job that is wrongly placed -> running | scheduled | blocked | queued, where it has come furthest; or nothing
-- ARGV: id, 1 if the counts of its attempts are to be forgotten, process, process, ...   (at most 1000: those that may hold it)
-- Answer: 1
-- Guarantees: afterwards it is in one place if it has a message and has not ended, else in none, and has nothing it has no right to. What
--   was right stays. A run whose holder is not known is refused from now on, and the job runs again at no cost.
-- KEYS: active away backlog dead done flows ghosts held history lease msg parked prio ready res route sched signals solo spot steps stop tomb tries watched
-- @include schema
-- @include clock
-- @include wake
-- @include progress
-- @include tries
-- @include route
-- @include lanes
-- @include ghosts
-- @include heirs
-- @include nodes
-- @include place
-- @include tail
-- @include dead
local id, now = ARGV[1], clock()
local ended, message = redis.call('HGET', k.tomb, id), redis.call('HEXISTS', k.msg, id) == 1
local lives = message and not ended
local route = route_of(id)

-- Running: with one holder, which has a lease.
local token = redis.call('HGET', k.active, id)
local holders = {}
for i = 3, #ARGV do
  if redis.call('ZSCORE', k.held, ARGV[i] .. id) then holders[#holders + 1] = ARGV[i] end
end
local runs = token and lives and #holders > 0
if token and not runs then
  redis.call('HDEL', k.active, id)
  if route then give_back(route[6], now) end
end
for i, process in ipairs(holders) do
  if not runs or i > 1 then
    redis.call('ZREM', k.held, process .. id)
  elseif not redis.call('ZSCORE', k.lease, process) then
    redis.call('ZADD', k.lease, ms(now), process)
  end
end

-- Elsewhere: the first of these places that it is in, if it does not run.
local placed = runs
local function settle_in(there, leave)
  if not there then return end
  if placed or not lives then leave() else placed = true end
end
settle_in(redis.call('HGET', k.away, id), function() redis.call('HDEL', k.away, id) end)
-- Of what waits for others nothing is taken back: the others know it.
if lives and (follows(id, route) or waits_in_flow(id)) then placed = true end
for _, key in ipairs({k.sched, k.parked, k.prio}) do
  settle_in(redis.call('ZSCORE', key, id), function() redis.call('ZREM', key, id) end)
end
local spot = redis.call('HGET', k.spot, id)
local stands = spot and route and route[4] ~= '' and redis.call('ZSCORE', k.backlog, route[4] .. spot .. id)
settle_in(stands, function() leave_lane(id, route, now) end)
if spot and not stands then redis.call('HDEL', k.spot, id) end
local function stand_in(key, alone)
  local count = #redis.call('LPOS', key, id, 'COUNT', 100, 'MAXLEN', 20000)
  for _ = 1, count - tonumber(redis.call('HGET', k.ghosts, ghost_of(id, alone)) or 0) do
    settle_in(true, function() leave_ghost(id, alone) end)
  end
end
stand_in(k.solo, true)
stand_in(k.ready, false)

if ARGV[2] == '1' then redis.call('HDEL', k.tries, id) end
if lives and not placed then
  place(id, read_tries(redis.call('HGET', k.tries, id)), true)
  hint()
end

-- What it has.
if not runs then forget_progress({id}) end
if not (runs or redis.call('HEXISTS', k.away, id) == 1) then redis.call('HDEL', k.stop, id) end
if not lives then redis.call('HDEL', k.tries, id) end
local kept = ended and ended:sub(1, 1) == 'f'
if ended and not kept then redis.call('HDEL', k.msg, id) end
if kept and message and not redis.call('ZSCORE', k.dead, id) then list(id, now) end
if not (kept and message) then redis.call('ZREM', k.dead, id) end
if not (lives or kept and message) then
  for _, key in ipairs({k.steps, k.signals, k.route}) do redis.call('HDEL', key, id) end
end
if not (lives or ended) then redis.call('HDEL', k.history, id) end
if not ended then redis.call('HDEL', k.res, id) end
if not (lives or redis.call('HEXISTS', k.res, id) == 1) then forget_tails({id}) end
if ended then
  redis.call('ZREM', k.watched, id)
  if not redis.call('ZSCORE', k.done, id) then redis.call('ZADD', k.done, ended:sub(2, 14), id) end
elseif redis.call('HEXISTS', k.flows, id .. 'open') == 0 then
  redis.call('ZREM', k.done, id)
end
return 1
