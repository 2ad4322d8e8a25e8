-- `followed` has what somebody follows of a job, by the time until which to tell: its id, then 'e' for what happens to it, 'v' for the
-- values that it gives. The key is also the name of the channel. Told once: who follows looks then, and with that asks again.
-- KEYS: followed
local function happened(ids, what)
  if redis.call('EXISTS', k.followed) == 0 then return end
  for _, id in ipairs(ids) do
    if redis.call('ZREM', k.followed, id .. what) == 1 then redis.call('PUBLISH', k.followed, id .. what) end
  end
end
