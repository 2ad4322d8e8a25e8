-- What another partition has to hear, written in the step that made it so: `outbox` has names by the time to send them (again),
-- `parcels` what each says, as {kind, to whom, ...}. The first letter of a name is its kind. Whoever gets one may get it twice.
-- KEYS: outbox parcels
-- @include clock
local function post(name, parcel, now)
  redis.call('HSET', k.parcels, name, cmsgpack.pack(parcel))
  redis.call('ZADD', k.outbox, ms(now), name)
  redis.call('PUBLISH', k.outbox, '')
end

local function unpost(name)
  redis.call('ZREM', k.outbox, name)
  redis.call('HDEL', k.parcels, name)
end
