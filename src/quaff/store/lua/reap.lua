#!lua flags=allow-oom
--- reap: running -> queued | retrying | failed | cancelled, for a process that its supervisor saw die
-- ARGV: process (8 bytes), most jobs in one call, crashes allowed, failed ttl in ms, tombstone window in ms, then for each job that
--   had been started: id, letter, ms until a retry is due, record of the attempt, outcome to store if it ends.
--   Letters: 'x' this was a crash; 'u' it had ended, and its outcome is lost; 'f' and 'r' it was killed at its limit, and ends or is tried again; 'b' it was killed on
--   behalf of another one, and goes back
-- Answer: {jobs given back, dead letters made, 1 if more are left}
-- Guarantees: only jobs that were running are charged, and after a crash run alone; so do, at no cost, those whose outcome is
--   lost; the others cost nothing and keep their place; the process is handed nothing any more.
-- KEYS: held tries
-- @include schema
-- @include clock
-- @include wake
-- @include tries
-- @include place
-- @include history
-- @include end
-- @include stopped
-- @include again
-- @include crash

local process, limit = ARGV[1], tonumber(ARGV[2])
local rules = {max_crashes = tonumber(ARGV[3]), failed_ttl = tonumber(ARGV[4]), window = tonumber(ARGV[5])}
local started = {}
for i = 6, #ARGV, 5 do started[ARGV[i]] = i end

local now = clock()
local range = redis.call('ZRANGEBYLEX', k.held, '[' .. process, '(' .. process .. string.rep('\255', 32), 'LIMIT', 0, limit)
local back, given_up = 0, 0
local waiting = {}
for _, member in ipairs(range) do
  local id = member:sub(9)
  local token = take_back(process, id, now)
  local at = started[id]
  local letter, delay, record, outcome = 'b', 0, nil, nil
  if at then letter, delay, record, outcome = ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3], ARGV[at + 4] end
  if token and letter == 'r' then
    come_back(id, letter, token, delay, record, now, rules.window)
    back = back + 1
  elseif token then
    if record then remember(id, record) end
    if stopped(id, token, now) then
      -- It has ended with its process.
    elseif letter == 'f' then
      finish(id, 'f', token, outcome, rules.failed_ttl, now, rules.window)
      given_up = given_up + 1
    elseif letter == 'x' then
      local t = read_tries(redis.call('HGET', k.tries, id))
      if charge(id, token, t, now, rules, outcome) then given_up = given_up + 1 else back = back + 1 end
    elseif letter == 'u' then
      -- A neighbour has cost it its outcome: it has none the next time, or that could happen again and again.
      send_alone(id, read_tries(redis.call('HGET', k.tries, id)))
      back = back + 1
    else
      waiting[#waiting + 1] = id
      back = back + 1
    end
  end
end
-- Ids sort by time, so the oldest comes to the head.
for i = #waiting, 1, -1 do place(waiting[i], read_tries(redis.call('HGET', k.tries, waiting[i])), true) end
local more = #range >= limit and 1 or 0
-- Its lease stays while it holds jobs: if nobody calls again, the sweep finds the rest.
close(process, now, rules.window, more == 1)
if back > 0 then hint() end
return {back, given_up, more}
