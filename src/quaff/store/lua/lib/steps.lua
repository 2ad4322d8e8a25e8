-- `steps` has what a job remembers from one attempt to the next, in the order in which it came: 13 digits of a time in ms, a letter
-- for the kind, the attempt in four bytes, name and signal each after a byte with its length, a value. Kinds: 's' done; 'i' an
-- iteration; 'z' it sleeps until that time; 'w' it waits for a signal until that time, 'v' has it (its id, then its
-- value), 't' got none.
-- KEYS: steps
-- @include records
local function steps_of(id) return split_records(redis.call('HGET', k.steps, id) or '') end

-- What is damaged has empty fields: it must not stop a whole batch.
local function read_step(record)
  local name_end = 19 + (record:byte(19) or 0)
  local signal_end = name_end + 1 + (record:byte(name_end + 1) or 0)
  return {at = tonumber(record:sub(1, 13)) or 0, kind = record:sub(14, 14), name = record:sub(20, name_end),
    signal = record:sub(name_end + 2, signal_end), value = record:sub(signal_end + 1)}
end

-- Its index in the list, and what it says; nil if there is none.
local function find_step(remembered, name)
  for index, record in ipairs(remembered) do
    local step = read_step(record)
    if step.name == name then return index, step end
  end
end

-- A step as it comes from outside has no time yet.
local function timed(at, untimed) return string.format('%013.0f', at) .. untimed end

-- In its place, or as the last one.
local function put_step(id, remembered, index, record)
  remembered[index or #remembered + 1] = record
  redis.call('HSET', k.steps, id, join_records(remembered))
end
