#!lua flags=allow-oom
--- requeue: failed -> queued
-- ARGV: id, id, ...   (at most 500)
-- Answer: one item a job: 'q' it waits again; 'n' it has not ended; 's' 'c' 'e' it has ended otherwise; 'f' it failed and is
--   discarded; 'u' another job holds its unique key now, or it is
--   one of a flow, which is sent back as a whole; '' nobody knows it
-- Guarantees: the message is the one that was sent; the attempts before stay in the history, and are counted anew.
-- KEYS: tomb msg res done meta
-- @include schema
-- @include clock
-- @include wake
-- @include tries
-- @include route
-- @include place
-- @include unique
-- @include history
-- @include dead
-- @include nodes

local now = clock()
local answers, back = {}, 0
for i, id in ipairs(ARGV) do
  local ended = redis.call('HGET', k.tomb, id)
  local kept = redis.call('HEXISTS', k.msg, id) == 1
  answers[i] = ended and ended:sub(1, 1):lower() or (kept and 'n' or '')
  local route = kept and route_of(id)
  local taken = route and route[2] ~= '' and holder_of(route[2], now)
  if answers[i] == 'f' and ((taken and taken ~= id) or is_node(id)) then
    answers[i] = 'u'
  elseif answers[i] == 'f' and kept then
    unlist(id)
    local record = redis.call('HGET', k.res, id)
    if record then remember(id, record) end
    redis.call('HDEL', k.tomb, id)
    redis.call('HDEL', k.res, id)
    redis.call('ZREM', k.done, id)
    if route and route[2] ~= '' and route[3] ~= 'time' then hold(route[2], id, 0) end
    place(id, read_tries(nil), false)
    answers[i] = 'q'
    back = back + 1
  end
end
if back > 0 then
  redis.call('HINCRBY', k.meta, 'requeued', back)
  hint()
end
return answers
