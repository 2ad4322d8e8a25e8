#!lua flags=allow-oom
--- rerun: failed -> queued, with some of its steps forgotten
-- ARGV: id, id of the call (repeated when it is sent again), name of the first step to forget ('': all of them)
-- Answer: as requeue for one job; 'x' it remembers no such step, and nothing was changed
-- Guarantees: the steps before the named one stay as they are; signals that no step has taken stay.
-- KEYS: meta msg steps tomb tries
-- @include schema
-- @include clock
-- @include wake
-- @include tries
-- @include records
-- @include steps
-- @include send_back

local id, call, from = ARGV[1], ARGV[2], ARGV[3]
local before = redis.call('HGET', k.tries, id)
if before and read_tries(before).token == call then return 'q' end
local remembered = steps_of(id)
local first = from == '' and 1 or find_step(remembered, from)
if not first then
  local ended = redis.call('HGET', k.tomb, id)
  local letter = ended and redis.call('HEXISTS', k.msg, id) == 1 and 'x' or (ended or ''):sub(1, 1):lower()
  return letter == '' and redis.call('HEXISTS', k.msg, id) == 1 and 'n' or letter
end
local answer = send_back(id, clock())
if answer == 'q' then
  local kept = {}
  for i = 1, first - 1 do kept[i] = remembered[i] end
  if #kept > 0 then redis.call('HSET', k.steps, id, join_records(kept)) else redis.call('HDEL', k.steps, id) end
  local t = read_tries(nil)
  t.token = call
  redis.call('HSET', k.tries, id, tries_text(t))
  redis.call('HINCRBY', k.meta, 'requeued', 1)
  hint()
end
return answer
