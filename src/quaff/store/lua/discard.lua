#!lua flags=allow-oom
--- discard: failed, and stays so; its message, result and history are deleted
-- ARGV: id, id, ...   (at most 500)
-- Answer: one number a job: 1 deleted; 0 it is no dead letter, or is deleted already
-- Guarantees: the tombstone keeps its time, so that nothing that comes late revives the job.
local msg, history, done, dead, tomb, res, meta = unpack(KEYS)
-- @include schema
-- @include clock
-- @include dead

local k = {msg = msg, history = history, done = done, dead = dead, tomb = tomb, res = res, meta = meta}
local answers = {}
for i, id in ipairs(ARGV) do
  answers[i] = redis.call('ZSCORE', dead, id) and 1 or 0
  if answers[i] == 1 then drop(k, id) end
end
return answers
