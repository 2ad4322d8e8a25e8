#!lua flags=allow-oom
--- discard: failed, and stays so; its message, result and history are deleted
-- ARGV: id, id, ...   (at most 500)
-- Answer: one number a job: 1 deleted; 0 it is no dead letter
-- Guarantees: the tombstone keeps its time, so that nothing that comes late revives it.
local msg, history, done, tomb, res = unpack(KEYS)

local answers = {}
for i, id in ipairs(ARGV) do
  local ended = redis.call('HGET', tomb, id)
  answers[i] = (ended and ended:sub(1, 1) == 'f') and 1 or 0
  if answers[i] == 1 then
    for _, key in ipairs({msg, history, res}) do redis.call('HDEL', key, id) end
    redis.call('ZADD', done, ended:sub(2, 14), id)
  end
end
return answers
