#!lua flags=allow-oom
--- receive: running, and stays so; a wait for a signal ends, if it can by now
-- ARGV: id, token, step of kind 'w' without a time (as lib/steps.lua), ms it would wait if it began now or -1
-- Answer: {1, the signal's value}; {2, ''} time is up; {3, ''} FENCED (this token does not hold it); {4, ''} not yet: let it wait
-- Guarantees: a signal is taken once, the oldest of its name first; how a wait has ended stays as it is.
-- KEYS: active signals
-- @include schema
-- @include clock
-- @include records
-- @include steps
-- @include signals

local id, token, untimed, timeout = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('HGET', k.active, id) ~= token then return {3, ''} end
local now, remembered, step = clock(), steps_of(id), read_step(timed(0, untimed))
local index, known = find_step(remembered, step.name)
if known and known.kind == 'v' then return {1, known.value:sub(17)} end
if known and known.kind == 't' then return {2, ''} end
local sent = signals_of(id)
local first, signal = find_signal(sent, step.signal)
if first then
  local value = signal:sub(18 + #step.signal)
  put_step(id, remembered, index, timed(now, 'v' .. untimed:sub(2) .. signal:sub(1, 16) .. value))
  table.remove(sent, first)
  if #sent > 0 then redis.call('HSET', k.signals, id, join_records(sent)) else redis.call('HDEL', k.signals, id) end
  return {1, value}
end
if timeout == 0 or (known and known.at <= now) then
  put_step(id, remembered, index, timed(now, 't' .. untimed:sub(2)))
  return {2, ''}
end
return {4, ''}
