#!lua flags=allow-oom
--- claim: queued -> running; retrying -> queued for what is due
-- ARGV: process (8 bytes), number (rises with every claim of the process), claim id (random; number and id are
--   repeated when nobody knows what came of the call, all else may differ), how many (0 to 500; it may be fewer, and where some are left, asking again gives more), of these for slots that are free now, idle (1 if the process holds no job at all), lease in ms
-- Answer: {status, left in the queue, alone, ms until asking again makes sense or -1, the time in ms if jobs are handed out,
--   version of what is blocked, 0 if nothing is, processes with a lease if nothing is handed out, id, message, token, ...}
--   status 0 handed out; 1 this process is closed; 2 a job that must run alone waits for this process to become idle;
--   3 what is left must start at once, in a free slot.
--   alone is 1 if the one job handed out must run alone in its process, 2 if such a job waits for a process that is idle.
--   A token ends with the attempt's number, then '~' and the number of failures if it has begun before, then '!' if it
--   runs alone.
-- Guarantees: the same claim id gets the same jobs, less those settled or given back since; a claim older than the last
--   one answered gets nothing; no job is active without its process having a lease; an attempt is counted here.
-- KEYS: ready prio turn claims meta held active msg lease sched opens route solo wake tries
-- @include schema
-- @include clock
-- @include wake
-- @include followed
-- @include tries
-- @include ghosts
local process, number, claim = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local want, free, idle, lease_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1', tonumber(ARGV[7])
-- How many there are that a process could be handed.
local function waiting() return redis.call('LLEN', k.ready) + redis.call('ZCARD', k.prio) + redis.call('ZCARD', k.turn) end

local now = clock()
local last = redis.call('HGET', k.claims, process)
if last == 'closed' then
  -- It may have taken the token of somebody who lives.
  if waiting() > 0 then hint() end
  return {1, 0, 0, -1, 0, 0, 0}
end
if last then
  local last_number, last_claim = last:match('^(%d+):(.*)$')
  if (tonumber(last_number) or 0) >= number then
    local answer = {0, waiting(), 0, -1, now, tonumber(redis.call('HGET', k.meta, 'blocks') or 0), 0}
    if last_claim ~= claim then return answer end
    local ids = redis.call('ZRANGEBYLEX', k.held, '[' .. process, '(' .. process .. string.rep('\255', 32), 'LIMIT', 0, 5000)
    for i, member in ipairs(ids) do ids[i] = member:sub(9) end
    for i, token in ipairs(#ids > 0 and redis.call('HMGET', k.active, unpack(ids)) or {}) do
      local id = ids[i]
      if token and token:sub(1, #claim + 1) == claim .. '.' then
        answer[#answer + 1] = id
        answer[#answer + 1] = redis.call('HGET', k.msg, id)
        answer[#answer + 1] = token
        if token:sub(-1) == '!' then answer[3] = 1 end
      end
    end
    return answer
  end
end

-- Written also where nothing is handed out: a copy of this call that arrives late must find it answered.
redis.call('HSET', k.claims, process, ms(number) .. ':' .. claim)
-- Its first: from now on its silence is noticed, or nothing would ever remove this entry.
if not last then redis.call('ZADD', k.lease, ms(now + lease_ms), process) end
local flags = redis.call('HMGET', k.meta, 'paused', 'solo_for', 'solo_since', 'blocks')
local serving, since, blocks = flags[2], tonumber(flags[3]), tonumber(flags[4] or 0)
local paused_until = tonumber(flags[1])
if paused_until and (paused_until == 0 or paused_until > now) then
  return {0, 0, 0, paused_until > 0 and paused_until - now or -1, 0, 0, redis.call('ZCARD', k.lease)}
elseif paused_until then
  redis.call('HDEL', k.meta, 'paused')
end
-- Puts jobs under the lease of this process: the answer. `others`: somebody else has a reason to look as well.
local function hand_out(ids, alone, again, others)
  local messages = redis.call('HMGET', k.msg, unpack(ids))
  local running = redis.call('HMGET', k.active, unpack(ids))
  local tried = redis.call('EXISTS', k.tries) == 1 and redis.call('HMGET', k.tries, unpack(ids)) or {}
  local leases, members, answer, given, strangers = {}, {}, {0, 0, alone, again, 0, blocks, 0}, {}, 0
  for i, id in ipairs(ids) do
    -- An id without a message is not ours, and one that runs already was put here by somebody else's hand.
    if messages[i] and not running[i] and not given[id] then
      local number = '1'
      if tried[i] then
        local t = read_tries(tried[i])
        number = (t.attempts + 1) .. '~' .. t.failures
      end
      local token = claim .. '.' .. i .. '.' .. number .. (alone == 1 and '!' or '')
      leases[#leases + 1] = id
      leases[#leases + 1] = token
      members[#members + 1] = 0
      members[#members + 1] = process .. id
      answer[#answer + 1] = id
      answer[#answer + 1] = messages[i]
      answer[#answer + 1] = token
      given[id] = true
    else
      strangers = strangers + 1
    end
  end
  answer[2] = waiting()
  if #leases > 0 then
    answer[5] = now
    redis.call('HSET', k.active, unpack(leases))
    redis.call('ZADD', k.held, unpack(members))
    redis.call('ZADD', k.lease, ms(now + lease_ms), process)
    happened(ids, 'e')
  else
    answer[3] = 0
  end
  if strangers > 0 then redis.call('HINCRBY', k.meta, 'strangers', strangers) end
  if answer[2] > 0 or others then hint() elseif answer[3] == 0 then redis.call('DEL', k.wake) end
  return answer
end

-- Nothing is handed out.
local function none(again, others)
  local left = waiting()
  if others or left > 0 then hint() else redis.call('DEL', k.wake) end
  return {0, left, 0, again, 0, 0, redis.call('ZCARD', k.lease)}
end

-- Whether there is more than the one line; a plain job pays for this question alone.
local special = redis.call('EXISTS', k.sched, k.opens, k.prio, k.turn, k.route) > 0
if not special and want > 0 and redis.call('LLEN', k.solo) == 0 then
  if serving == process then redis.call('HDEL', k.meta, 'solo_for') end
  local ids = pop_ready(want)
  return #ids > 0 and hand_out(ids, 0, -1, false) or none(-1, false)
end

-- The pieces below are made where they are needed: most calls end above.
-- @include route
-- @include lanes
-- @include unique
-- @include due
-- @include order

-- Milliseconds that a job which must run alone waits for a process that is idle anyway.
local SOLO_PATIENCE = 1000
-- And until it asks again for room in a concurrency limit.
local SOLO_RETRY = 200
-- A job that must run alone, with what its limits ask for; one that they keep waiting comes back later.
local function next_alone()
  local id = pop_solo()
  local route = id and route_of(id)
  if route then
    local limit, wait = kept_by(route[6], now)
    if limit then
      redis.call('ZADD', k.sched, ms(now + math.max(wait, SOLO_RETRY)), id)
      return nil
    end
    take_all(route[6], now)
  end
  return id and {id}
end

-- Whether this process hears of the lonely for the first time: a token comes past each that cannot take them, and so to
-- one that can; after that they would wake each other for ever.
local function told_first()
  local told = redis.call('HGET', k.meta, 'solo_told') or ''
  if told:find(process, 1, true) then return false end
  redis.call('HSET', k.meta, 'solo_told', told .. process)
  return true
end

if special then
  looks = looks - promote(now, looks / 2)
  looks = looks - 3 * open_due(now, math.floor(looks / 6))
end
if want == 0 then
  -- The process took a token and has no room any more: the hint goes on to another one.
  local left = waiting()
  if left + redis.call('LLEN', k.solo) > 0 then hint() end
  return {0, left, 0, special and next_due(now) or -1, 0, 0, 0}
end

-- Milliseconds until there is a reason to ask again, token or not.
local again = -1
local ids, alone, others, lonely = nil, 0, false, false
if redis.call('LLEN', k.solo) > 0 then
  if idle then
    ids = next_alone()
    if ids then
      alone = 1
      redis.call('HSET', k.meta, 'solo_for', process)
    end
    if redis.call('LLEN', k.solo) == 0 then redis.call('HDEL', k.meta, 'solo_since', 'solo_told') else others = true end
  else
    lonely = true
    if not since then redis.call('HSET', k.meta, 'solo_since', ms(now)) end
    local waited = now - (since or now)
    if waited < SOLO_PATIENCE then
      -- For a moment it is left to idle processes, and to the replacement of the one that died.
      again = SOLO_PATIENCE - waited
    elseif not serving or serving == process or not redis.call('ZSCORE', k.lease, serving) then
      -- One process empties itself for it, and asks now and then whether it still has to. It then serves this line as
      -- long as there is something in it; the others go on, and hear of it again: one may be idle by now.
      local left = waiting()
      if serving ~= process then
        redis.call('HSET', k.meta, 'solo_for', process, 'solo_told', '')
        hint()
      elseif left > 0 then
        hint()
      end
      return {2, left, 2, SOLO_PATIENCE, 0, 0, 0}
    end
    others = told_first()
  end
end
if alone == 0 and serving == process then redis.call('HDEL', k.meta, 'solo_for') end
ids = ids or (special and next_in_line(want, free, now)) or pop_ready(want)
-- Only now: what was passed over just now comes when its limit opens.
local due = special and next_due(now) or -1
if due >= 0 then again = again >= 0 and math.min(again, due) or due end
if #ids == 0 then
  local answer = none(again, others)
  if lonely then answer[3] = 2 end
  if free == 0 and answer[2] > 0 and answer[2] == redis.call('ZCARD', k.turn) then answer[1] = 3 end
  return answer
end

-- Somebody who waits must also know when the next job is due: this process may be busy then.
local answer = hand_out(ids, alone, again, others or due >= 0)
if lonely then answer[3] = 2 end
local routes, started = special and routes_of(ids) or {}, {}
for i = 8, #answer, 3 do started[answer[i]] = routes[answer[i]] end
if next(started) then
  let_go(started, 'start', now)
  answer[2] = waiting()
end
return answer
