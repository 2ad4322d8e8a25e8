-- A hint that `ready` has work. One token wakes one waiting process, and whoever leaves work behind puts it back.
-- KEYS: wake
local function hint()
  if redis.call('LLEN', k.wake) == 0 then redis.call('LPUSH', k.wake, '1') end
end
