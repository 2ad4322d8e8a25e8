#!lua flags=allow-oom
--- outgoing: what other partitions have to hear, a page of what is due
-- ARGV: most, ms after which somebody else may send the same
-- Answer: {{name, kind, to whom, ...}, ...}; after these, of kind 'go': id there, message, route, numbers of its limits,
--   baggage, origin; 'back': id there, id at home, letter, ttl or ms until it is due, record, baggage, priority, queue;
--   'advance' and 'signal': as they have it; 'cancel': id there, id here, ttl in ms, tombstone window in ms, outcome
-- Guarantees: nothing leaves the list by this.
-- KEYS: msg limits outbox parcels
-- @include schema
-- @include clock
-- @include message
-- @include route
-- @include parcels
-- @include away
-- @include baggage
-- @include sound

-- What a job takes along: all that it is here, less the unique key, which stays.
local function luggage(id, there, to)
  local route, numbers = route_of(id), {}
  for _, each in ipairs(route[6]) do
    local declared = each[1]:sub(18)
    numbers[#numbers + 1] = {declared, redis.call('HGET', k.limits, declared) or '0 1 1'}
  end
  local asks = (route[1] ~= 0 or route[4] ~= '') and cmsgpack.pack({route[1], '', 'done', route[4], route[5], route[6], 0}) or ''
  local origin = id .. HERE
  return {'g' .. there, 'go', to, there, layer(5, origin, redis.call('HGET', k.msg, id) or ''), asks, cmsgpack.pack(numbers),
    packed(id), origin}
end

local now, size, answer = clock(), 0, {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', k.outbox, '-inf', ms(now), 'LIMIT', 0, tonumber(ARGV[1]))) do
  local parcel = sound(redis.call('HGET', k.parcels, name) or '', {'string', 'string', 'string', 'string'})
  local kind, to, there, id = unpack(parcel or {})
  if not parcel then
    -- It is damaged, and the others are not.
    redis.call('ZADD', k.outbox, ms(now + tonumber(ARGV[2])), name)
  elseif (kind == 'go' or kind == 'cancel') and is_away(id) ~= there then
    unpost(name)
  elseif kind == 'signal' and redis.call('HEXISTS', k.msg, there) == 0 then
    unpost(name)
  else
    -- To wherever the job is by now.
    if kind == 'signal' and is_away(there) then parcel[2], parcel[3] = runs_in(there), is_away(there) end
    answer[#answer + 1] = kind == 'go' and luggage(id, there, to) or {name, unpack(parcel)}
    redis.call('ZADD', k.outbox, ms(now + tonumber(ARGV[2])), name)
    for _, part in ipairs(answer[#answer]) do size = size + #part end
    if size > 4194304 then break end
  end
end
return answer
