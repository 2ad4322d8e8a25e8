#!lua flags=allow-oom
--- returned: away -> succeeded | failed | cancelled | expired | retrying
-- ARGV: tombstone window in ms, then for each job: id there, id here, letter, ttl or ms until it is due, record, tries, history, priority,
--   queue   (at most 100)
-- Answer: how many were awaited
-- Guarantees: only the journey that a job is on brings it home, and once.
-- KEYS: away tries history
-- @include schema
-- @include clock
-- @include route
-- @include place
-- @include parcels
-- @include away
-- @include end
-- @include stopped
local window, home, now = tonumber(ARGV[1]), 0, clock()
for i = 2, #ARGV, 9 do
  local there, id, letter, after, record, tries, history, priority, queue = unpack(ARGV, i, i + 8)
  if is_away(id) == there then
    home = home + 1
    redis.call('HDEL', k.away, id)
    unpost('g' .. there)
    unpost('c' .. there)
    if history ~= '' then redis.call('HSET', k.history, id, history) end
    if letter ~= 'r' then
      finish(id, letter, '', record, tonumber(after), now, window)
    elseif not stopped(id, '', now) then
      redis.call('HSET', k.tries, id, tries)
      if priority ~= '' then set_priority(id, tonumber(priority)) end
      set_queue(id, queue)
      start_waiting(id, now + tonumber(after), now)
    end
  end
end
return home
