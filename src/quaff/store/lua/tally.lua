#!lua flags=allow-oom
--- tally: what a process has counted of the attempts that it settled is added up (changes nothing of any job)
-- ARGV: process (8 bytes), number (rises with every tally of the process), how many tasks, how many kinds of failures; then for each
--   task its name ('' for all together) and a MessagePack map of what to add to its numbers; for each kind of failure its name, how
--   many attempts and how many jobs that were given up, what it is (text), the id of one job (text); then what is known of
--   jobs that have succeeded, the last one last
-- Answer: 1 done; 0 it was done before, or the process is gone for good
-- Guarantees: the same tally counts once. There are no more tasks, kinds of failures, and minutes and hours of tasks, than their bounds.
-- KEYS: claims told tasks tasks_until series series_until failures failures_until recent
-- @include schema
-- @include clock
-- @include shelve
-- @include sound

local MINUTE, HOUR, DAY = 60000, 3600000, 86400000
local MOST_TASKS, MOST_FAILURES, MOST_RECENT = 1000, 500, 1000
local SAMPLES = 5
local process, number, now = ARGV[1], tonumber(ARGV[2]), clock()
-- Nothing would ever remove the number of one that is not known any more.
if redis.call('HEXISTS', k.claims, process) == 0 then return 0 end
if number <= (tonumber(redis.call('HGET', k.told, process)) or 0) then return 0 end
redis.call('HSET', k.told, process, number)

local function added(text, numbers)
  local sums = text and sound(text, {}) or {}
  for name, count in pairs(numbers) do sums[name] = (tonumber(sums[name]) or 0) + count end
  return sums
end

-- Minutes are kept for a day and hours for fourteen; where that would be more than SERIES each, for as long as all tasks have room alike,
-- an hour and a day at least. Of all tasks together always so long. MOST_SERIES is beyond all of that: for what was shelved while
-- there were fewer tasks.
local SERIES, MOST_SERIES = 50000, 120000
local known = math.max(1, redis.call('HLEN', k.tasks))
local function lasts(task, least, most) return task == '' and most or math.max(least, math.min(most, math.floor(SERIES / known))) end

local at = 5
for _ = 1, tonumber(ARGV[3]) do
  local task, numbers = ARGV[at], cmsgpack.unpack(ARGV[at + 1])
  at = at + 2
  local minute, hour = 'm' .. math.floor(now / MINUTE) .. ':' .. task, 'h' .. math.floor(now / HOUR) .. ':' .. task
  shelve(k.series, k.series_until, minute, cmsgpack.pack(added(redis.call('HGET', k.series, minute), numbers)), now + lasts(task, 60, 1440) * MINUTE, MOST_SERIES)
  shelve(k.series, k.series_until, hour, cmsgpack.pack(added(redis.call('HGET', k.series, hour), numbers)), now + lasts(task, 24, 336) * HOUR, MOST_SERIES)
  if task ~= '' then
    local sums = added(redis.call('HGET', k.tasks, task), numbers)
    sums.last = now
    shelve(k.tasks, k.tasks_until, task, cmsgpack.pack(sums), now + 14 * DAY, MOST_TASKS)
  end
end
for _ = 1, tonumber(ARGV[4]) do
  local kind, count, given_up, what, id = unpack(ARGV, at, at + 4)
  at = at + 5
  local text = redis.call('HGET', k.failures, kind)
  local before = text and sound(text, {'number', 'number', 'number'}) or {0, 0, now}
  local entry = {before[1] + tonumber(count), before[2] + tonumber(given_up), before[3], now, what, id}
  for i = 6, math.min(#before, 4 + SAMPLES) do entry[#entry + 1] = before[i] end
  shelve(k.failures, k.failures_until, kind, cmsgpack.pack(entry), now + 14 * DAY, MOST_FAILURES)
end
if at <= #ARGV then
  redis.call('LPUSH', k.recent, unpack(ARGV, at))
  redis.call('LTRIM', k.recent, 0, MOST_RECENT - 1)
end
return 1
