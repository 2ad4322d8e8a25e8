-- `signals` has what a job was sent and has not taken yet: 16 bytes of an id, a byte with the name's length, the name, the value.
-- KEYS: signals
-- @include records
local function signals_of(id) return split_records(redis.call('HGET', k.signals, id) or '') end

-- The index of the first one of that name, and its record; nil if there is none.
local function find_signal(sent, name)
  for index, record in ipairs(sent) do
    if record:sub(18, 17 + (record:byte(17) or 0)) == name then return index, record end
  end
end
