#!lua flags=allow-oom
--- step: running, and stays so; what a step came to is remembered, or how far an iteration has come
-- ARGV: most steps of a job, most bytes of them, then for each: id, token, step (as lib/steps.lua, without the time)   (at most 500)
-- Answer: one number a job: 1 it is remembered, or was before; 3 FENCED (this token does not hold it); 5 there are too many steps;
--   6 too many bytes
-- Guarantees: a step that is done stays as it is; only the cursor of an iteration moves.
-- KEYS: active
-- @include schema
-- @include clock
-- @include steps

local most, most_bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
local now, answers = clock(), {}

local function kept(id, untimed)
  local remembered = steps_of(id)
  local name = read_step(timed(0, untimed)).name
  local index, known = find_step(remembered, name)
  if known and (known.kind ~= 'i' or remembered[index]:sub(14) == untimed) then return 1 end
  if not known and #remembered >= most then return 5 end
  local bytes = #untimed
  for i, record in ipairs(remembered) do bytes = bytes + (i == index and 0 or #record) end
  if bytes > most_bytes then return 6 end
  put_step(id, remembered, index, timed(now, untimed))
  return 1
end

for i = 3, #ARGV, 3 do
  local id = ARGV[i]
  answers[#answers + 1] = redis.call('HGET', k.active, id) == ARGV[i + 1] and kept(id, ARGV[i + 2]) or 3
end
return answers
