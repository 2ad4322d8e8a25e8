-- `guests` has who holds room in a limit and is no job, by the time it is free again: "limit cost token" (33 and 8 characters, and
-- the rest). What was taken of a rate is gone; its entry only keeps a repeated call from taking twice.
-- KEYS: guests
-- @include lanes
local function dismiss(guest, now)
  if redis.call('ZREM', k.guests, guest) == 0 then return 0 end
  give_back({{guest:sub(1, 33), tonumber(guest:sub(34, 41))}}, now)
  return 1
end
