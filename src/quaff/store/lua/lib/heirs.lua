-- Whether a job waits for the end of the one that holds its unique key: `heirs` has 13 digits of the time it is due, and its id.
-- KEYS: heirs
local function follows(id, route)
  local heir = route and route[2] ~= '' and redis.call('HGET', k.heirs, route[2])
  return heir and heir:sub(14) == id
end
