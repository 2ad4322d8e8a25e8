-- Stores a job that asks for more than the end of the one line, unless another one with the same unique key stays. `rules` are what
-- a waiting job that is replaced ends as: {outcome, its ttl in ms, tombstone window in ms}.
-- KEYS: tomb heirs msg meta
-- @include met
-- @include route
-- @include place
-- @include limits
-- @include unique
-- @include withdraw
-- @include halt
-- @include end
-- A waiting job makes room for the one that replaces it.
local function replace(id, rules, now)
  withdraw(id, now)
  finish(id, 'c', '', rules[1], rules[2], now, rules[3])
end

-- What another job with the same unique key means for a new one: where that stays, its id; or 'heir', where the new one follows it.
local CONFLICT = {
  keep = function(holder) return holder end,
  reschedule = function(holder, _, due, _, now)
    if not under_way(holder) and redis.call('HEXISTS', k.tomb, holder) == 0 then
      withdraw(holder, now)
      start_waiting(holder, due, now)
    end
    return holder
  end,
  follow = function(holder, route)
    if redis.call('HEXISTS', k.tomb, holder) == 1 then return holder end
    local heir = redis.call('HGET', k.heirs, route[2])
    return heir and heir:sub(14) or 'heir'
  end,
  replace = function(holder, route, _, rules, now)
    local heir = redis.call('HGET', k.heirs, route[2])
    if heir then replace(heir:sub(14), rules, now) end
    if redis.call('HEXISTS', k.tomb, holder) == 1 then return holder end
    if under_way(holder) then return route[3] == 'time' and holder or 'heir' end
    replace(holder, rules, now)
  end,
}
function CONFLICT.cancel_running(holder, route, due, rules, now)
  local verdict = CONFLICT.replace(holder, route, due, rules, now)
  if under_way(holder) then ask_to_stop(holder, rules[1], rules[2], rules[3], now) end
  return verdict
end

-- Whether a job would be one more: not if it is there, or another one stays in its place.
local function is_new(id, text, packed_terms, now)
  if redis.call('HEXISTS', k.msg, id) + redis.call('HEXISTS', k.tomb, id) > 0 then return false end
  local key = text ~= '' and cmsgpack.unpack(text)[2] or ''
  local conflict = cmsgpack.unpack(packed_terms)[3]
  return not (key ~= '' and (conflict == 'keep' or conflict == 'reschedule') and holder_of(key, now))
end

-- As enqueue_routed answers.
local function store(id, message, text, packed_terms, rules, now)
  local known = met(message, redis.call('HGET', k.msg, id), redis.call('HGET', k.tomb, id))
  if known then return known end
  local at, delay, conflict, numbers = unpack(cmsgpack.unpack(packed_terms))
  local due = at > 0 and at or now + delay
  local route = text ~= '' and cmsgpack.unpack(text)
  local key = route and route[2] or ''
  local holder, lapsed = nil, false
  if key ~= '' then holder, lapsed = holder_of(key, now) end
  if lapsed then
    -- Its heir has been waiting for this, and may be whom the new one meets.
    hand_over({key}, now)
    holder = holder_of(key, now)
  end
  local verdict = holder and CONFLICT[conflict](holder, route, due, rules, now)
  if verdict and verdict ~= 'heir' then return verdict end
  redis.call('HSET', k.msg, id, message)
  redis.call('HINCRBY', k.meta, 'enqueued', 1)
  if route then set_route(id, text) end
  for _, each in ipairs(numbers) do set_numbers(each[1], each[2]) end
  if verdict then
    redis.call('HSET', k.heirs, key, string.format('%013.0f', due) .. id)
  else
    if key ~= '' then hold(key, id, route[7], now) end
    start_waiting(id, due, now)
  end
  return 0
end
