-- Milliseconds of the server's clock, never back. A clock found more than a minute behind what was seen is believed:
-- it was the forward jump that was wrong. `tick` alone writes it down.
-- KEYS: meta
local function clock()
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  local seen = tonumber(redis.call('HGET', k.meta, 'clock') or 0) or 0
  if seen > now and seen - now <= 60000 then return seen end
  return now
end

-- tostring() loses digits of numbers this large.
local function ms(number) return string.format('%.0f', number) end
