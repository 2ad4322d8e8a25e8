#!lua flags=allow-oom
--- cancel: scheduled | retrying | queued -> cancelled; running: asked to stop
-- ARGV: outcome to store, its ttl in ms, tombstone window in ms, id, id, ...   (at most 500)
-- Answer: one item a job: 'c' cancelled now, or before; 's' 'f' 'e' it has ended otherwise; 'r' it runs, and was asked;
--   '' nobody knows it
-- Guarantees: what waits never starts; a terminal state never changes; a running job that is asked ends as whatever it
--   makes of that, but does not come back.
local msg, ready, wake, active, tries, history, parked, sched, ghosts, stop, done, dead, tomb, res, meta = unpack(KEYS)
-- @include schema
-- @include clock
-- @include wake
-- @include message
-- @include dead
-- @include end
-- @include tries
-- @include ghosts

local k = {msg = msg, ready = ready, wake = wake, tries = tries, history = history, stop = stop, done = done, dead = dead,
  tomb = tomb, res = res, meta = meta}
local outcome, ttl, window = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = clock(meta)
local answers, asked = {}, false
for i = 4, #ARGV do
  local id = ARGV[i]
  local ended = redis.call('HGET', tomb, id)
  if ended then
    answers[#answers + 1] = ended:sub(1, 1)
  elseif redis.call('HEXISTS', active, id) == 1 then
    -- The reason that was given first is the one that is kept.
    if redis.call('HSETNX', stop, id, ttl .. ' ' .. window .. ' ' .. outcome) == 1 then asked = true end
    answers[#answers + 1] = 'r'
  elseif redis.call('HEXISTS', msg, id) == 1 then
    if redis.call('ZREM', parked, id) + redis.call('ZREM', sched, id) == 0 then
      redis.call('HINCRBY', ghosts, ghost_of(id, runs_alone(read_tries(redis.call('HGET', tries, id)))), 1)
    end
    finish(k, id, 'c', '', outcome, ttl, now, window)
    answers[#answers + 1] = 'c'
  else
    answers[#answers + 1] = ''
  end
end
if asked then redis.call('PUBLISH', stop, '') end
return answers
