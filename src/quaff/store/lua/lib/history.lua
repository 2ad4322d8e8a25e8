-- The attempts before the last one, each record with its length in four bytes before it. The oldest go first when
-- they are too many: what failed lately is what somebody will ask for.
-- KEYS: history
local HISTORY_BYTES = 65536
local function remember(id, record)
  local kept = redis.call('HGET', k.history, id) or ''
  for _ = 1, #kept do
    if #kept == 0 or #kept + #record + 4 <= HISTORY_BYTES then break end
    kept = kept:sub(5 + struct.unpack('>I4', kept))
  end
  redis.call('HSET', k.history, id, kept .. struct.pack('>I4', #record) .. record)
end
