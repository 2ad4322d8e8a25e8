#!lua flags=allow-oom
--- alerts: none: what one worker at a time tells the world: who was given up since it told last, and who stands at the head of each line
-- ARGV: who tells, ms for which nobody else does; what was told: ms at which the last job was given up and its id, '1' that the queue is
--   late or '0' that it is not; each '' where there was nothing of that; most jobs in one answer
-- Answer: {} somebody else tells; else {now in ms, '1' if it was told that the queue is late, 1 if it is paused, how many at the head of a line
--   follow, id, message, '' or of one that has begun before its last attempt, ..., id of a dead letter, ms at which it was given up, outcome or '', id, ...}
-- Guarantees: no job is touched. What was not said to be told comes again, and never what was given up before anybody told.
-- KEYS: alerts meta ready solo prio turn waits backlog ghosts tries history msg dead res
-- @include schema
-- @include clock
local who, now = ARGV[1], clock()
local kept = redis.call('HMGET', k.alerts, 'who', 'until', 'at', 'id', 'late')
if kept[1] and kept[1] ~= who and (tonumber(kept[2]) or 0) > now then return {} end
local at, id, late = tonumber(kept[3]) or now, kept[4] or '', kept[5] or '0'
-- Who was away meanwhile does not know how far another one has come.
if kept[1] == who then
  if ARGV[3] ~= '' then at, id = tonumber(ARGV[3]), ARGV[4] end
  if ARGV[5] ~= '' then late = ARGV[5] end
end
-- A clock that was put back must not hold this off for as long as it had been wrong.
if at > now then at, id = now, '' end
redis.call('HSET', k.alerts, 'who', who, 'until', ms(now + tonumber(ARGV[2])), 'at', ms(at), 'id', id, 'late', late)

local answer = {now, late, redis.call('HEXISTS', k.meta, 'paused'), 0}
local function show(one, attempt)
  if redis.call('HSTRLEN', k.msg, one) > 16384 then return false end
  answer[4] = answer[4] + 1
  answer[#answer + 1] = one
  answer[#answer + 1] = redis.call('HGET', k.msg, one) or ''
  answer[#answer + 1] = attempt
  return true
end
-- Since when one waits that has begun before its message does not tell.
local function show_new(one)
  return redis.call('HEXISTS', k.tries, one) + redis.call('HEXISTS', k.history, one) == 0 and show(one, '')
end
-- In `history` each attempt has its length in four bytes before it.
local function last_attempt(one)
  local kept, from = redis.call('HGET', k.history, one) or '', 1
  for _ = 1, #kept do
    local to = from + 3 < #kept and from + 4 + struct.unpack('>I4', kept, from) or #kept + 1
    if to > #kept then break end
    from = to
  end
  return kept:sub(from)
end

for i = 1, math.min(20, redis.call('LLEN', k.ready)) do
  local one = redis.call('LINDEX', k.ready, -i)
  if answer[4] < 3 and redis.call('HEXISTS', k.ghosts, one) == 0 then show_new(one) end
end
for i = 1, math.min(3, redis.call('LLEN', k.solo)) do
  local one = redis.call('LINDEX', k.solo, -i)
  local attempt = redis.call('HEXISTS', k.ghosts, '!' .. one) == 0 and last_attempt(one) or ''
  if attempt ~= '' then show(one, attempt) end
end
-- Of each priority the first: those below wait the longest (`rank` has the step from one to the next).
local from = '-inf'
for _ = 1, 10 do
  local few = redis.call('ZRANGEBYSCORE', k.prio, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 3)
  for i = 1, #few, 2 do
    if show_new(few[i]) then break end
  end
  if #few == 0 then break end
  from = ms((math.floor(tonumber(few[2]) / 2^45) + 1) * 2^45)
end
-- Of the lanes whose turn comes next, and of those that stand in line at a limit, the first job of each.
local lanes = redis.call('ZRANGEBYSCORE', k.turn, '-inf', '+inf', 'LIMIT', 0, 10)
for _, entry in ipairs(redis.call('ZRANGEBYLEX', k.waits, '-', '+', 'LIMIT', 0, 10)) do lanes[#lanes + 1] = entry:sub(-16) end
for _, lane in ipairs(lanes) do
  local entry = redis.call('ZRANGEBYLEX', k.backlog, '[' .. lane, '(' .. lane .. '\255', 'LIMIT', 0, 1)[1]
  if entry then show_new(entry:sub(-16)) end
end
-- Not what is still to come by this clock, which was put back, or whose time was damaged: it would be told again and again.
local page = redis.call('ZRANGEBYSCORE', k.dead, ms(at), ms(now), 'WITHSCORES', 'LIMIT', 0, 1000)
local first = 1
for i = 1, #page, 2 do
  if page[i] == id and tonumber(page[i + 1]) == at then first = i + 2 end
end
for i = first, math.min(#page, first + 2 * tonumber(ARGV[6]) - 1), 2 do
  answer[#answer + 1] = page[i]
  answer[#answer + 1] = page[i + 1]
  answer[#answer + 1] = redis.call('HGET', k.res, page[i]) or ''
end
return answer
