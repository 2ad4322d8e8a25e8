#!lua
--- enqueue_routed: nothing -> queued | scheduled | blocked, for jobs that ask for more than the end of the one line
-- ARGV: outcome of a waiting job that is replaced, its ttl in ms, tombstone window in ms, then for each job: id, message, route ('' for
--   none), terms: {ms of the time it is due, or 0, ms until then, what to do about a job with the same unique key ('keep'
--   'replace' 'reschedule' 'cancel_running'), ms for which it holds that key, {{declaration of a limit, its numbers}, ...}}
--   (at most 100 jobs; ids of 16 bytes)
-- Answer: as enqueue; an id of 16 bytes where another job, that one, holds the unique key and stays
-- Guarantees: as enqueue; of two jobs with one unique key the second is stored only where it takes the place of the first, or,
--   blocked, is to follow it; at most one follows.
-- KEYS: active tomb heirs stop msg meta limits
-- @include schema
-- @include clock
-- @include met
-- @include route
-- @include place
-- @include unique
-- @include withdraw
-- @include end
local outcome, ttl, window = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = clock()

-- A waiting job makes room for the one that replaces it.
local function replaced(id)
  withdraw(id, now)
  finish(id, 'c', '', outcome, ttl, now, window)
end

-- What another job with the same unique key means for a new one: where that stays, its id; or 'heir', where the new one follows it.
local CONFLICT = {
  keep = function(holder) return holder end,
  reschedule = function(holder, _, due)
    if redis.call('HEXISTS', k.active, holder) + redis.call('HEXISTS', k.tomb, holder) == 0 then
      withdraw(holder, now)
      start_waiting(holder, due, now)
    end
    return holder
  end,
  replace = function(holder, route)
    local heir = redis.call('HGET', k.heirs, route[2])
    if heir then replaced(heir:sub(14)) end
    if redis.call('HEXISTS', k.tomb, holder) == 1 then return holder end
    if redis.call('HEXISTS', k.active, holder) == 1 then return route[3] == 'time' and holder or 'heir' end
    replaced(holder)
  end,
}
function CONFLICT.cancel_running(holder, route)
  local verdict = CONFLICT.replace(holder, route)
  if redis.call('HEXISTS', k.active, holder) == 1 and redis.call('HSETNX', k.stop, holder, ttl .. ' ' .. window .. ' ' .. outcome) == 1 then
    redis.call('PUBLISH', k.stop, '')
  end
  return verdict
end

local answers = {}
for i = 4, #ARGV, 4 do
  local id, message, text = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local answer = met(message, redis.call('HGET', k.msg, id), redis.call('HGET', k.tomb, id))
  if not answer then
    local at, delay, conflict, held_for, numbers = unpack(cmsgpack.unpack(ARGV[i + 3]))
    local due = at > 0 and at or now + delay
    local route = text ~= '' and cmsgpack.unpack(text)
    local key = route and route[2] or ''
    local holder = key ~= '' and holder_of(key, now)
    answer = holder and CONFLICT[conflict](holder, route, due)
    if not answer or answer == 'heir' then
      redis.call('HSET', k.msg, id, message)
      redis.call('HINCRBY', k.meta, 'enqueued', 1)
      if route then set_route(id, text) end
      for _, each in ipairs(numbers) do redis.call('HSET', k.limits, each[1], each[2]) end
      if answer then
        redis.call('HSET', k.heirs, key, string.format('%013.0f', due) .. id)
      else
        if key ~= '' then hold(key, id, held_for > 0 and now + held_for or 0) end
        start_waiting(id, due, now)
      end
      answer = 0
    end
  end
  answers[#answers + 1] = answer
end
return answers
