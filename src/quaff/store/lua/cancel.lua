#!lua flags=allow-oom
--- cancel: scheduled | retrying | queued | blocked -> cancelled; running: asked to stop
-- ARGV: outcome to store, its ttl in ms, tombstone window in ms, id, id, ...   (at most 500)
-- Answer: one item a job: 'c' cancelled now, or before; 's' 'f' 'e' it has ended otherwise; 'r' it runs, and was asked;
--   '' nobody knows it
-- Guarantees: what waits never starts; a terminal state never changes; a running job that is asked ends as whatever it
--   makes of that, but does not come back.
-- KEYS: tomb msg
-- @include schema
-- @include clock
-- @include withdraw
-- @include halt
-- @include end

local outcome, ttl, window = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = clock()
local answers = {}
for i = 4, #ARGV do
  local id = ARGV[i]
  local ended = redis.call('HGET', k.tomb, id)
  if ended then
    answers[#answers + 1] = ended:sub(1, 1):lower()
  elseif under_way(id) then
    ask_to_stop(id, outcome, ttl, window, now)
    answers[#answers + 1] = 'r'
  elseif redis.call('HEXISTS', k.msg, id) == 1 then
    withdraw(id, now)
    finish(id, 'c', '', outcome, ttl, now, window)
    answers[#answers + 1] = 'c'
  else
    answers[#answers + 1] = ''
  end
end
return answers
