#!lua flags=allow-oom
--- requeue: failed -> queued
-- ARGV: id, id, ...   (at most 500)
-- Answer: one item a job: 'q' it waits again; 'n' it has not ended; 's' 'c' 'e' it has ended otherwise; 'f' it failed and is
--   discarded; '' nobody knows it
-- Guarantees: the message is the one that was sent; the attempts before stay in the history, and are counted anew.
local msg, ready, wake, history, done, dead, tomb, res, meta = unpack(KEYS)
-- @include schema
-- @include clock
-- @include wake
-- @include history
-- @include dead

local k = {msg = msg, history = history, done = done, dead = dead, tomb = tomb, res = res, meta = meta}
local answers, back = {}, 0
for i, id in ipairs(ARGV) do
  local ended = redis.call('HGET', tomb, id)
  local kept = redis.call('HEXISTS', msg, id) == 1
  answers[i] = ended and ended:sub(1, 1) or (kept and 'n' or '')
  if answers[i] == 'f' and kept then
    unlist(k, id)
    local record = redis.call('HGET', res, id)
    if record then remember(history, id, record) end
    redis.call('HDEL', tomb, id)
    redis.call('HDEL', res, id)
    redis.call('ZREM', done, id)
    redis.call('LPUSH', ready, id)
    answers[i] = 'q'
    back = back + 1
  end
end
if back > 0 then
  redis.call('HINCRBY', meta, 'requeued', back)
  hint(wake)
end
return answers
