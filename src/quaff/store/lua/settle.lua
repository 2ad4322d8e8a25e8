#!lua flags=allow-oom
--- settle: running -> succeeded | failed | cancelled | expired | retrying | scheduled
-- ARGV: process (8 bytes), tombstone window in ms, then for each job: id, token, letter ('s' 'f' 'c' 'e'; 'r' after a failure
--   and 'w' at no cost it comes back), result ttl in ms (for 'r' and 'w': ms until it is due), digest (16 bytes or empty; for
--   'r' another priority and queue, with a space between them, or empty, for 'w' the step for which it waits or empty), record (for
--   'r' and 'w': that of the attempt)
-- Answer: one number a job: 0 LATER (this call has done its share: it is to be sent again); 1 OK; 2 ALREADY (this token settled it before); 3 FENCED (another token holds it, ended it,
--   or it waits to run again after another one); 4 GONE (nobody knows it)
-- Guarantees: one terminal answer OK per id; a late run cannot change what another one recorded.
-- KEYS: active tries tomb msg held res done stop meta
-- @include schema
-- @include clock
-- @include watched
-- @include progress
-- @include forget_steps
-- @include tries
-- @include route
-- @include tail
-- @include travels
-- @include nodes
-- @include effort

local process, window = ARGV[1], tonumber(ARGV[2])
local ids = {}
for i = 3, #ARGV, 6 do ids[#ids + 1] = ARGV[i] end
local holders = {}
for i, token in ipairs(redis.call('HMGET', k.active, unpack(ids))) do holders[ids[i]] = token end
local now = clock()

local function refusal(id, token)
  local before = redis.call('HGET', k.tries, id)
  if before and read_tries(before).token == token then return 2 end
  if holders[id] then return 3 end
  local ended = redis.call('HGET', k.tomb, id)
  if ended then return ended:sub(15, 14 + #token + 1) == token .. '|' and 2 or 3 end
  return redis.call('HEXISTS', k.msg, id) == 1 and 3 or 4
end

local answers, mine, members, others = {}, {}, {}, {}
local succeeded, tombs, records, expiries, unkept = {}, {}, {}, {}, {}
local here, routes, over, ran = {}, {}, {}, {}
for i, id in ipairs(ids) do
  local at = 6 * i - 3
  local token, letter, ttl = ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  -- Not those that this call does not come to.
  if i % 50 == 1 and effort < MOST_EFFORT then routes = routes_of({unpack(ids, i, math.min(i + 49, #ids))}) end
  if effort >= MOST_EFFORT then
    answers[i] = 0
  elseif holders[id] == token then
    answers[i] = 1
    holders[id] = nil
    here[id] = token
    local route, plain = routes[id], letter == 's' and not (travels(id) or is_node(id))
    if route then ran[#ran + 1] = {route[6], letter} end
    if route and plain then over[id] = route end
    effort = effort + effort_for(route) + (plain and 0 or 4)
    mine[#mine + 1] = id
    members[#members + 1] = process .. id
    if not plain then
      others[#others + 1] = at
    else
      local gone = now + math.max(window, ttl)
      succeeded[#succeeded + 1] = id
      tombs[#tombs + 1] = id
      tombs[#tombs + 1] = (ttl > 0 and 's' or 'S') .. string.format('%013.0f', gone) .. token .. '|' .. ARGV[at + 4]
      if ttl > 0 then
        records[#records + 1] = id
        records[#records + 1] = ARGV[at + 5]
      else
        unkept[#unkept + 1] = id
      end
      expiries[#expiries + 1] = ms(ttl > 0 and now + ttl or gone)
      expiries[#expiries + 1] = id
    end
  else
    effort = effort + 1
    answers[i] = here[id] and (here[id] == token and 2 or 3) or refusal(id, token)
  end
end

-- First what is new, then what it replaces: where a damaged key stops this script, nothing is lost.
if #succeeded > 0 then
  redis.call('HSET', k.tomb, unpack(tombs))
  if #records > 0 then redis.call('HSET', k.res, unpack(records)) end
  if #unkept > 0 then forget_tails(unkept) end
  redis.call('ZADD', k.done, unpack(expiries))
end
if #mine > 0 then
  redis.call('HDEL', k.active, unpack(mine))
  forget_progress(mine)
  redis.call('ZREM', k.held, unpack(members))
end
if #succeeded > 0 then
  redis.call('HDEL', k.msg, unpack(succeeded))
  if redis.call('EXISTS', k.tries) == 1 then redis.call('HDEL', k.tries, unpack(succeeded)) end
  if redis.call('EXISTS', k.stop) == 1 then redis.call('HDEL', k.stop, unpack(succeeded)) end
  forget_steps(succeeded)
  redis.call('HINCRBY', k.meta, 'succeeded', #succeeded)
  tell(succeeded)
end
if #others + #ran == 0 then return answers end

-- The pieces below are made where they are needed: most calls end above.
-- @include lanes
-- @include unique
-- @include end
-- @include again
-- What had expired was not begun.
for _, each in ipairs(ran) do give_back(each[1], now, each[2] == 'e') end
if next(over) then
  let_go(over, 'done', now)
  forget_routes(succeeded)
end
for _, at in ipairs(others) do
  local id, token, letter, ttl, record = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 5]
  -- One that was asked to stop ends as it does where it would have come back: why, whoever has asked knows.
  if letter == 'r' or letter == 'w' or (letter == 'c' and redis.call('HEXISTS', k.stop, id) == 1) then
    come_back(id, letter, token, ttl, record, now, window, ARGV[at + 4])
  else
    finish(id, letter, token, record, ttl, now, window)
  end
end
return answers
