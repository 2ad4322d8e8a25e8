#!lua flags=allow-oom
--- signal: scheduled -> queued for a job that waits for it; any other that has not ended finds it when it looks
-- ARGV: id, signal's id (16 bytes, repeated when it is sent again), name, value, most signals of a job, most bytes of them
-- Answer: 'd' it is there, or on its way to where the job runs; 's' 'f' 'c' 'e' the job has ended; '' nobody knows it; 'n' too many are there, 'b' too many bytes
-- Guarantees: the same signal is delivered once, as long as the job remembers it.
-- KEYS: tomb msg signals sched tries
-- @include schema
-- @include records
-- @include steps
-- @include signals
-- @include awaited
-- @include tries
-- @include place
-- @include wake
-- @include followed
-- @include away
-- @include parcels
-- @include clock

local id, signal, name, value = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ended = redis.call('HGET', k.tomb, id)
if ended then return ended:sub(1, 1):lower() end
if redis.call('HEXISTS', k.msg, id) == 0 then return '' end
if is_away(id) then
  post('s' .. id .. signal, {'signal', HERE, unpack(ARGV)}, clock())
  return 'd'
end
local sent, bytes = signals_of(id), #value
for _, record in ipairs(sent) do
  if record:sub(1, 16) == signal then return 'd' end
  bytes = bytes + #record
end
for _, record in ipairs(steps_of(id)) do
  local step = read_step(record)
  if step.kind == 'v' and step.value:sub(1, 16) == signal then return 'd' end
end
if #sent >= tonumber(ARGV[5]) then return 'n' end
if bytes > tonumber(ARGV[6]) then return 'b' end
sent[#sent + 1] = signal .. struct.pack('>I1', #name) .. name .. value
redis.call('HSET', k.signals, id, join_records(sent))
local due = redis.call('ZSCORE', k.sched, id)
local step = due and awaited(id, tonumber(due))
if step and step.kind == 'w' and step.signal == name then
  redis.call('ZREM', k.sched, id)
  place(id, read_tries(redis.call('HGET', k.tries, id)), false)
  hint()
  happened({id}, 'e')
end
return 'd'
