#!lua flags=allow-oom
--- settle: running -> succeeded | failed | cancelled | retrying
-- ARGV: process (8 bytes), tombstone window in ms, then for each job: id, token, letter of the state, result ttl in ms
--   (for a retry: ms until it is due), digest (16 bytes or empty), record (for a retry: that of the attempt)
-- Answer: one number a job: 1 OK; 2 ALREADY (this token settled it before); 3 FENCED (another token holds it, ended it,
--   or it waits to run again after another one); 4 GONE (nobody knows it)
-- Guarantees: one terminal answer OK per id; a late run cannot change what another one recorded.
local msg, ready, wake, active, held, tries, history, sched, solo, stop, done, tomb, res, meta = unpack(KEYS)
-- @include clock
-- @include wake
-- @include tries
-- @include history
-- @include end
-- @include stopped

local k = {msg = msg, tries = tries, stop = stop, done = done, tomb = tomb, res = res, meta = meta}
local process, window = ARGV[1], tonumber(ARGV[2])
local ids = {}
for i = 3, #ARGV, 6 do ids[#ids + 1] = ARGV[i] end
local holders = {}
for i, token in ipairs(redis.call('HMGET', active, unpack(ids))) do holders[ids[i]] = token end
local now = clock(meta)

local function refusal(id, token)
  local before = redis.call('HGET', tries, id)
  if before and read_tries(before).token == token then return 2 end
  if holders[id] then return 3 end
  local ended = redis.call('HGET', tomb, id)
  if ended then return ended:sub(15, 14 + #token + 1) == token .. '|' and 2 or 3 end
  return redis.call('HEXISTS', msg, id) == 1 and 3 or 4
end

-- Back in line, now or at its time; whoever waits for work must know of a new earliest one.
local function retry(id, token, delay, record)
  remember(history, id, record)
  redis.call('HDEL', active, id)
  redis.call('ZREM', held, process .. id)
  if stopped(k, id, token, now) then return end
  local t = read_tries(redis.call('HGET', tries, id))
  t.attempts, t.failures, t.token = t.attempts + 1, t.failures + 1, token
  redis.call('HSET', tries, id, tries_text(t))
  redis.call('HINCRBY', meta, 'retried', 1)
  if delay == 0 then
    local line = line_of(t, ready, solo)
    redis.call('LPUSH', line, id)
    hint(wake)
  else
    redis.call('ZADD', sched, ms(now + delay), id)
    if redis.call('ZRANK', sched, id) == 0 then hint(wake) end
  end
end

local answers, ended, over, members, tombs, records, expiries, count = {}, {}, {}, {}, {}, {}, {}, {}
local here = {}
for i, id in ipairs(ids) do
  local at = 6 * i - 3
  local token, letter, ttl, digest, record = ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4], ARGV[at + 5]
  if holders[id] == token then
    answers[i] = 1
    holders[id] = nil
    here[id] = token
  end
  if answers[i] == 1 and letter == 'r' then
    retry(id, token, ttl, record)
  elseif answers[i] == 1 then
    local gone = now + math.max(window, ttl)
    ended[#ended + 1] = id
    if letter ~= 'f' then over[#over + 1] = id end
    members[#members + 1] = process .. id
    tombs[#tombs + 1] = id
    tombs[#tombs + 1] = letter .. string.format('%013.0f', gone) .. token .. '|' .. digest
    if ttl > 0 then
      records[#records + 1] = id
      records[#records + 1] = record
    end
    expiries[#expiries + 1] = ms(ttl > 0 and now + ttl or gone)
    expiries[#expiries + 1] = id
    count[letter] = (count[letter] or 0) + 1
  else
    answers[i] = here[id] and (here[id] == token and 2 or 3) or refusal(id, token)
  end
end

if #ended > 0 then
  redis.call('HDEL', active, unpack(ended))
  redis.call('ZREM', held, unpack(members))
  -- A dead letter keeps its message, so that it can be sent back.
  if #over > 0 then redis.call('HDEL', msg, unpack(over)) end
  redis.call('HSET', tomb, unpack(tombs))
  if #records > 0 then redis.call('HSET', res, unpack(records)) end
  redis.call('ZADD', done, unpack(expiries))
  if redis.call('EXISTS', tries) == 1 then redis.call('HDEL', tries, unpack(ended)) end
  if redis.call('EXISTS', stop) == 1 then redis.call('HDEL', stop, unpack(ended)) end
  for letter, n in pairs(count) do
    redis.call('HINCRBY', meta, ({s = 'succeeded', f = 'failed', c = 'cancelled'})[letter], n)
  end
end
return answers
