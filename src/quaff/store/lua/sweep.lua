#!lua flags=allow-oom
--- sweep: running -> queued | failed | cancelled where a lease has lapsed; parked, retrying -> queued; results and tombstones expire
-- ARGV: lease in ms, most items in one call, of which each kind has half of what those before it have left, crashes allowed, failed ttl in ms, tombstone window in ms, dead letters
--   to keep, bytes of them to keep, outcome to store for a job whose crash was one too many, 1 to bring back all parked jobs
--   (a new worker may know their task)
-- Answer: {jobs taken from silent processes, jobs brought back from parking, records expired, 1 if more is left, running jobs
--   that were asked to stop, processes with a lease, ms until a schedule is to be looked at or -1, ms until something is to be sent to other partitions or -1,
--   how many partitions the queue has, as its first one knows}
-- Guarantees: after a gap in the sweeps (the server or all workers were away) nothing is reaped for one whole lease. A job
--   reaped for the first time is charged nothing; from then on it runs alone, and each further lapse costs one crash.
-- KEYS: meta lease held tries parked opens rates watched followed guests lapses done tomb dead res history steps signals msg route claims sched_seen sched_next stop outbox flows told tasks tasks_until series series_until failures failures_until workers workers_until dumps dumps_until requests
-- @include schema
-- @include clock
-- @include wake
-- @include tries
-- @include lanes
-- @include guests
-- @include place
-- @include unique
-- @include audit
-- @include history
-- @include tail
-- @include dead
-- @include stopped
-- @include due
-- @include timetable
-- @include crash
-- @include parcels
-- @include away

local lease_ms, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local rules = {max_crashes = tonumber(ARGV[3]), failed_ttl = tonumber(ARGV[4]), window = tonumber(ARGV[5])}
local keep, keep_bytes = tonumber(ARGV[6]), tonumber(ARGV[7])
local now = clock()
-- So none has to wait for all of another one.
local left = limit
local function share() return math.max(5, math.floor(left / 2)) end

local seen = tonumber(redis.call('HGET', k.meta, 'last_tick')) or 0
local reap_from = tonumber(redis.call('HGET', k.meta, 'reap_from')) or 0
if now - seen > lease_ms / 2 then
  reap_from = now + lease_ms
  redis.call('HSET', k.meta, 'reap_from', ms(reap_from))
end
-- A clock that was put back must not hold the reaping off for as long as it had been wrong.
if reap_from > now + lease_ms then
  reap_from = now + lease_ms
  redis.call('HSET', k.meta, 'reap_from', ms(reap_from))
end
redis.call('HSET', k.meta, 'last_tick', ms(now), 'clock', ms(now))
-- How many jobs end in a second, the last ones counting most: for whoever is told to come again later.
local ended = 0
for _, count in ipairs(redis.call('HMGET', k.meta, 'succeeded', 'failed', 'cancelled', 'expired')) do ended = ended + (tonumber(count) or 0) end
local before = redis.call('HMGET', k.meta, 'ended_at_tick', 'rate')
if tonumber(before[1]) and now > seen then
  local rate = (ended - tonumber(before[1])) * 1000 / (now - seen)
  redis.call('HSET', k.meta, 'rate', string.format('%.3f', (tonumber(before[2]) or rate) * 0.7 + rate * 0.3))
end
redis.call('HSET', k.meta, 'ended_at_tick', ended)
-- Nor must a lease that was written by it.
for _, process in ipairs(redis.call('ZRANGEBYSCORE', k.lease, '(' .. ms(now + lease_ms), '+inf', 'LIMIT', 0, limit)) do
  redis.call('ZADD', k.lease, ms(now + lease_ms), process)
end

local more = 0
-- What has come to its share may have more.
local function took(count, most)
  left = left - count
  if count >= most then more = 1 end
end
local taken = 0
if now >= reap_from then
  local silent = redis.call('ZRANGEBYSCORE', k.lease, '-inf', ms(now), 'LIMIT', 0, 10)
  if #silent == 10 then more = 1 end
  for _, process in ipairs(silent) do
    local room = math.min(share(), left)
    if room <= 0 then
      more = 1
      break
    end
    local range = redis.call('ZRANGEBYLEX', k.held, '[' .. process, '(' .. process .. string.rep('\255', 32), 'LIMIT', 0, room)
    for _, member in ipairs(range) do
      local id = member:sub(9)
      local token = take_back(process, id, now)
      if token then
        taken = taken + 1
        local t = read_tries(redis.call('HGET', k.tries, id))
        remember(id, cmsgpack.pack({t.attempts + 1, 0, now, '', 0, 'lapsed'}))
        if stopped(id, token, now) then
          -- It has ended with its process.
        elseif t.lapses == 0 then
          send_alone(id, t)
        else
          t.lapses = t.lapses + 1
          charge(id, token, t, now, rules, ARGV[8])
        end
      end
    end
    took(#range, room)
    if #range >= room then break end
    close(process, now, rules.window)
  end
end
if taken > 0 then hint() end

-- As many as there were when that was asked for: one that is parked once more waits for its time.
local unpark = ARGV[9] == '1' and redis.call('ZCARD', k.parked) or tonumber(redis.call('HGET', k.meta, 'unpark') or 0)
local most = share()
local due = redis.call('ZRANGEBYSCORE', k.parked, '-inf', unpark > 0 and '+inf' or ms(now), 'LIMIT', 0, unpark > 0 and math.min(most, unpark) or most)
took(#due, most)
if unpark > #due and #due > 0 then
  redis.call('HSET', k.meta, 'unpark', unpark - #due)
elseif unpark > 0 then
  redis.call('HDEL', k.meta, 'unpark')
end
if #due > 0 then
  redis.call('ZREM', k.parked, unpack(due))
  for i, text in ipairs(redis.call('HMGET', k.tries, unpack(due))) do
    place(due[i], read_tries(text), false)
  end
  hint()
end
most = share()
local promoted = promote(now, most)
took(promoted, most)
if promoted > 0 then hint() end

most = share()
if redis.call('EXISTS', k.opens) == 1 then took(open_due(now, most), most) end

-- What is full again, held or heard no longer, or asked by nobody, leaves nothing behind.
for _, key in ipairs({k.rates, k.watched, k.followed, k.requests}) do
  local over = redis.call('ZRANGEBYSCORE', key, '-inf', ms(now), 'LIMIT', 0, limit)
  if #over > 0 then redis.call('ZREM', key, unpack(over)) end
  if #over >= limit then more = 1 end
end
most = share()
local overdue = redis.call('ZRANGEBYSCORE', k.guests, '-inf', ms(now), 'LIMIT', 0, most)
took(#overdue, most)
for _, guest in ipairs(overdue) do dismiss(guest, now) end
most = share()
local lapsed = redis.call('ZRANGEBYSCORE', k.lapses, '-inf', ms(now), 'LIMIT', 0, most)
took(#lapsed, most)
if #lapsed > 0 then hand_over(lapsed, now) end

-- These cost half of what the others do, and are the most.
most = math.max(5, 2 * left)
local old = redis.call('ZRANGEBYSCORE', k.done, '-inf', ms(now), 'LIMIT', 0, most)
took(#old, most)
if #old > 0 then
  local tombs = redis.call('HMGET', k.tomb, unpack(old))
  local kept, gone = {}, {}
  for i, id in ipairs(old) do
    local until_ms = tombs[i] and tonumber(tombs[i]:sub(2, 14)) or 0
    if until_ms > now then
      kept[#kept + 1] = ms(until_ms)
      kept[#kept + 1] = id
    else
      gone[#gone + 1] = id
    end
  end
  if redis.call('EXISTS', k.dead) == 1 then
    for _, id in ipairs(old) do unlist(id) end
  end
  for _, key in ipairs({k.res, k.history, k.steps, k.signals, k.msg, k.route}) do redis.call('HDEL', key, unpack(old)) end
  forget_tails(old)
  if #kept > 0 then redis.call('ZADD', k.done, unpack(kept)) end
  if #gone > 0 then
    if redis.call('EXISTS', k.flows) == 1 then
      for _, id in ipairs(gone) do
        if redis.call('HEXISTS', k.flows, id .. 'open') == 1 then
          -- From now on nobody knows it, nor goes on storing it.
          redis.call('HDEL', k.flows, id .. 'head')
          redis.call('HDEL', k.flows, id .. 'sow')
          post('f' .. id, {'advance', HERE, 'forget', id, '0'}, now)
        end
      end
    end
    redis.call('HDEL', k.tomb, unpack(gone))
    redis.call('HDEL', k.claims, unpack(gone))
    redis.call('HDEL', k.told, unpack(gone))
    redis.call('ZREM', k.done, unpack(gone))
  end
end
-- The oldest dead letters make room.
local function too_many()
  return redis.call('ZCARD', k.dead) > keep or tonumber(redis.call('HGET', k.meta, 'dead_bytes') or 0) > keep_bytes
end
if too_many() then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', k.dead, '-inf', '+inf', 'LIMIT', 0, math.max(5, left))) do
    if too_many() then drop(id) end
  end
  if too_many() then more = 1 end
end
-- What is kept for people, and has been for long enough.
local function outdated(key, line)
  local gone = redis.call('ZRANGEBYSCORE', line, '-inf', ms(now), 'LIMIT', 0, limit)
  if #gone == 0 then return end
  redis.call('HDEL', key, unpack(gone))
  redis.call('ZREM', line, unpack(gone))
  if #gone >= limit then more = 1 end
end
outdated(k.series, k.series_until)
outdated(k.tasks, k.tasks_until)
outdated(k.failures, k.failures_until)
outdated(k.workers, k.workers_until)
outdated(k.dumps, k.dumps_until)
-- Schedules of a code that nobody runs any more.
if now >= reap_from then
  local forgotten = redis.call('ZRANGEBYSCORE', k.sched_seen, '-inf', ms(now - 3 * lease_ms), 'LIMIT', 0, limit)
  for _, name in ipairs(forgotten) do
    remove_schedule(name)
    audit(now, '', 'schedule no longer declared', name)
  end
end
local next_parcel = redis.call('ZRANGEBYSCORE', k.outbox, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
local next_schedule = redis.call('ZRANGEBYSCORE', k.sched_next, '-inf', '(inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]

return {taken, #due, #old, more, redis.call('HLEN', k.stop), redis.call('ZCARD', k.lease), next_schedule and math.max(0, tonumber(next_schedule) - now) or -1,
  next_parcel and math.max(0, tonumber(next_parcel) - now) or -1, tonumber(redis.call('HGET', k.meta, 'partitions') or 1)}
