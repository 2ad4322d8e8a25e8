-- What a job takes along to another queue and back, besides its message: its tries, the attempts before, what it remembers and
-- what it was sent.
-- KEYS: tries history steps signals
local BAGGAGE = {k.tries, k.history, k.steps, k.signals}

local function packed(id)
  local texts = {}
  for i, key in ipairs(BAGGAGE) do texts[i] = redis.call('HGET', key, id) or '' end
  return cmsgpack.pack(texts)
end

local function unpacked(id, baggage)
  for i, text in ipairs(cmsgpack.unpack(baggage)) do
    local key = BAGGAGE[i]
    if text ~= '' then redis.call('HSET', key, id, text) else redis.call('HDEL', key, id) end
  end
end
