#!lua flags=allow-oom
--- reap: running -> queued | failed | cancelled, for a process that its supervisor saw die
-- ARGV: process (8 bytes), most jobs in one call, crashes allowed, failed ttl in ms, tombstone window in ms, then for each job that
--   had been started: id, record of the attempt, outcome to store if this crash was one too many
-- Answer: {jobs given back, dead letters made, 1 if more are left}
-- Guarantees: only jobs that had been started are charged, and from now on run alone; the others cost nothing and keep
--   their place; the process is handed nothing any more.
local msg, ready, wake, active, held, lease, tries, history, claims, solo, stop, done, tomb, res, meta = unpack(KEYS)
-- @include clock
-- @include wake
-- @include end
-- @include tries
-- @include history
-- @include stopped
-- @include crash

local k = {msg = msg, active = active, held = held, lease = lease, tries = tries, claims = claims, solo = solo, stop = stop,
  done = done, tomb = tomb, res = res, meta = meta}
local process, limit = ARGV[1], tonumber(ARGV[2])
local rules = {max_crashes = tonumber(ARGV[3]), failed_ttl = tonumber(ARGV[4]), window = tonumber(ARGV[5])}
local started = {}
for i = 6, #ARGV, 3 do started[ARGV[i]] = i end

local now = clock(meta)
local range = redis.call('ZRANGEBYLEX', held, '[' .. process, '(' .. process .. string.rep('\255', 32), 'LIMIT', 0, limit)
local back, dead = 0, 0
local waiting = {}
for _, member in ipairs(range) do
  local id = member:sub(9)
  local token = take_back(k, process, id)
  local at = started[id]
  if token and at then remember(history, id, ARGV[at + 1]) end
  -- One that was asked to stop has ended with its process.
  if token and stopped(k, id, token, now) then token = nil end
  if token and at then
    local t = read_tries(redis.call('HGET', tries, id))
    if charge(k, id, token, t, now, rules, ARGV[at + 2]) then dead = dead + 1 else back = back + 1 end
  elseif token then
    if token:sub(-1) == '!' then redis.call('RPUSH', solo, id) else waiting[#waiting + 1] = id end
    back = back + 1
  end
end
-- Ids sort by time, so the oldest comes to the head.
for i = #waiting, 1, -1 do redis.call('RPUSH', ready, waiting[i]) end
local more = #range >= limit and 1 or 0
-- Its lease stays while it holds jobs: if nobody calls again, the sweep finds the rest.
close(k, process, now, rules.window, more == 1)
if back > 0 then hint(wake) end
return {back, dead, more}
