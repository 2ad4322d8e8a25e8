-- The number of the present minute ('m') or hour ('h'), and what was counted in each, the present one first; a MessagePack map or ''.
-- KEYS: series
local function tallied(unit, task, count, now)
  local present = math.floor(now / (unit == 'm' and 60000 or 3600000))
  local fields = {}
  for i = 0, math.min(count, 1500) - 1 do fields[#fields + 1] = unit .. present - i .. ':' .. task end
  local answer = {present}
  for i, text in ipairs(redis.call('HMGET', k.series, unpack(fields))) do answer[i + 1] = text or '' end
  return answer
end
