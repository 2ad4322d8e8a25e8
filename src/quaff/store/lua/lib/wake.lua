-- A hint that `ready` has work. One token wakes one waiting process, and whoever leaves work behind puts it back.
local function hint(wake)
  if redis.call('LLEN', wake) == 0 then redis.call('LPUSH', wake, '1') end
end
