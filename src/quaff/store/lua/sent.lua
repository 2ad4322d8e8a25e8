#!lua flags=allow-oom
--- sent: what another partition has heard leaves the list
-- ARGV: ms after which a journey is announced again, name, name, ...   (at most 30)
-- Answer: ms until something else is to be sent, or -1
-- Guarantees: a journey stays on the list until it is over, so that it is made again where the other partition has lost it.
-- KEYS: outbox
-- @include schema
-- @include clock
-- @include parcels
local now = clock()
for i = 2, #ARGV do
  if ARGV[i]:sub(1, 1) == 'g' then
    redis.call('ZADD', k.outbox, 'XX', ms(now + tonumber(ARGV[1])), ARGV[i])
  else
    unpost(ARGV[i])
  end
end
local next_parcel = redis.call('ZRANGEBYSCORE', k.outbox, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
return next_parcel and math.max(0, tonumber(next_parcel) - now) or -1
