#!lua
--- arrive: nothing -> queued, for jobs that come from another queue and go home when they have ended
-- ARGV: for each job: id, message, route or '', numbers of its limits {{declaration, numbers}, ...}, baggage, origin   (at most 30)
-- Answer: how many were not here before
-- Guarantees: a journey is made once, however often it is announced, as long as its tombstone lives.
-- KEYS: msg tomb meta limits origin
-- @include schema
-- @include clock
-- @include route
-- @include place
-- @include baggage
local new, now = 0, clock()
for i = 1, #ARGV, 6 do
  local id, message, route, numbers, baggage, origin = unpack(ARGV, i, i + 5)
  if redis.call('HEXISTS', k.msg, id) + redis.call('HEXISTS', k.tomb, id) == 0 then
    redis.call('HSET', k.msg, id, message)
    redis.call('HSET', k.origin, id, origin)
    if route ~= '' then set_route(id, route) end
    for _, each in ipairs(cmsgpack.unpack(numbers)) do redis.call('HSET', k.limits, each[1], each[2]) end
    unpacked(id, baggage)
    redis.call('HINCRBY', k.meta, 'enqueued', 1)
    start_waiting(id, now, now)
    new = new + 1
  end
end
return new
