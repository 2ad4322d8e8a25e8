#!lua flags=allow-oom
--- returned: away -> succeeded | failed | cancelled | expired | retrying
-- ARGV: tombstone window in ms, then for each job: id there, id here, letter, ttl or ms until it is due, record, baggage, priority, queue
--   (at most 30)
-- Answer: how many were awaited
-- Guarantees: only the journey that a job is on brings it home, and once.
-- KEYS: away
-- @include schema
-- @include clock
-- @include route
-- @include place
-- @include parcels
-- @include away
-- @include baggage
-- @include end
-- @include stopped
local window, home, now = tonumber(ARGV[1]), 0, clock()
for i = 2, #ARGV, 8 do
  local there, id, letter, after, record, baggage, priority, queue = unpack(ARGV, i, i + 7)
  if is_away(id) == there then
    home = home + 1
    redis.call('HDEL', k.away, id)
    unpost('g' .. there)
    unpost('c' .. there)
    unpacked(id, baggage)
    if letter ~= 'r' then
      finish(id, letter, '', record, tonumber(after), now, window)
    elseif not stopped(id, '', now) then
      if priority ~= '' then set_priority(id, tonumber(priority)) end
      set_queue(id, queue)
      start_waiting(id, now + tonumber(after), now)
    end
  end
end
return home
