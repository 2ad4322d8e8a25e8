#!lua flags=allow-oom
--- release: running -> queued, at no cost; -> cancelled, where it was asked to stop
-- ARGV: process (8 bytes), then for each job: id, token, ms to keep it parked (0: it goes to the head of the queue; -1: likewise, and
--   it may have begun), record of the attempt, if it had begun
-- Answer: one number a job: 0 LATER (this call has done its share: it is to be sent again; the last ones go first); 1 OK; 3 FENCED (this token does not hold it)
-- Guarantees: nothing is charged, where it was not begun not even to a rate; the order of the jobs given back is kept; what must
--   run alone goes on waiting for that.
-- KEYS: active held parked tries
-- @include schema
-- @include clock
-- @include wake
-- @include followed
-- @include progress
-- @include tries
-- @include route
-- @include lanes
-- @include place
-- @include history
-- @include stopped
-- @include effort

local process = ARGV[1]
local ids = {}
for i = 2, #ARGV, 4 do ids[#ids + 1] = ARGV[i] end
local holders = {}
for i, token in ipairs(redis.call('HMGET', k.active, unpack(ids))) do holders[ids[i]] = token end
local now = clock()

local answers, back = {}, false
for i = #ids, 1, -1 do
  local id, token, wait, record = ids[i], ARGV[4 * i - 1], tonumber(ARGV[4 * i]), ARGV[4 * i + 1]
  if effort >= MOST_EFFORT then
    answers[i] = 0
  elseif holders[id] == token then
    answers[i] = 1
    holders[id] = nil
    redis.call('HDEL', k.active, id)
    forget_progress({id})
    redis.call('ZREM', k.held, process .. id)
    local route = route_of(id)
    effort = effort + 3 * effort_for(route)
    if route then give_back(route[6], now, wait >= 0) end
    if record ~= '' then remember(id, record) end
    local ended = stopped(id, token, now)
    if wait > 0 and not ended then
      redis.call('ZADD', k.parked, ms(now + wait), id)
    elseif not ended then
      place(id, read_tries(redis.call('HGET', k.tries, id)), true)
      back = true
    end
  else
    answers[i] = 3
  end
end
if back then hint() end
happened(ids, 'e')
return answers
