-- `watched` has who is waited for, by the time until which to tell; its key is also the name of the channel.
-- KEYS: watched followed
-- @include followed
local function tell(ids)
  if redis.call('EXISTS', k.watched, k.followed) == 0 then return end
  for _, id in ipairs(ids) do
    if redis.call('ZREM', k.watched, id) == 1 then redis.call('PUBLISH', k.watched, id) end
  end
  happened(ids, 'e')
  happened(ids, 'v')
end
