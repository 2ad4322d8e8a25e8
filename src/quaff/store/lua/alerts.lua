#!lua flags=allow-oom
--- alerts: none: what one worker at a time tells the world: who was given up since it told last, and who stands at the head of the line
-- ARGV: who tells, ms for which nobody else does; what was told: ms at which the last job was given up and its id, '1' that the queue is
--   late or '0' that it is not; each '' where there was nothing of that; most jobs in one answer
-- Answer: {} somebody else tells; else {now in ms, '1' if it was told that the queue is late, 1 if it is paused, how many at the head of the line
--   follow, id, message, ..., id of a dead letter, ms at which it was given up, outcome or '', id, ...}
-- Guarantees: no job is touched. What was not said to be told comes again, and never what was given up before anybody told.
-- KEYS: alerts meta ready ghosts tries history msg dead res
-- @include schema
-- @include clock
local who, now = ARGV[1], clock()
local kept = redis.call('HMGET', k.alerts, 'who', 'until', 'at', 'id', 'late')
if kept[1] and kept[1] ~= who and tonumber(kept[2]) > now then return {} end
local at, id, late = tonumber(kept[3] or now), kept[4] or '', kept[5] or '0'
-- Who was away meanwhile does not know how far another one has come.
if kept[1] == who then
  if ARGV[3] ~= '' then at, id = tonumber(ARGV[3]), ARGV[4] end
  if ARGV[5] ~= '' then late = ARGV[5] end
end
-- A clock that was put back must not hold this off for as long as it had been wrong.
if at > now then at, id = now, '' end
redis.call('HSET', k.alerts, 'who', who, 'until', ms(now + tonumber(ARGV[2])), 'at', ms(at), 'id', id, 'late', late)

local answer = {now, late, redis.call('HEXISTS', k.meta, 'paused'), 0}
for i = 1, math.min(20, redis.call('LLEN', k.ready)) do
  local one = redis.call('LINDEX', k.ready, -i)
  -- Since when one waits that has run before its message does not tell.
  local begun = redis.call('HEXISTS', k.tries, one) + redis.call('HEXISTS', k.history, one)
  if answer[4] < 3 and begun + redis.call('HEXISTS', k.ghosts, one) == 0 and redis.call('HSTRLEN', k.msg, one) <= 16384 then
    answer[4] = answer[4] + 1
    answer[#answer + 1] = one
    answer[#answer + 1] = redis.call('HGET', k.msg, one) or ''
  end
end
local page = redis.call('ZRANGEBYSCORE', k.dead, ms(at), '+inf', 'WITHSCORES', 'LIMIT', 0, 1000)
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
