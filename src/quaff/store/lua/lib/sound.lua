-- What a MessagePack text says, or nil where it was damaged: one job that nobody can read must not stop those beside it. `shape` has a
-- letter for the type of each part ('n' 's' 't'); `rows`, by the number of a part that is a list of lists, the shape of these.
local function fits(found, shape)
  if type(found) ~= 'table' then return false end
  for i = 1, #shape do
    if type(found[i]):byte() ~= shape:byte(i) then return false end
  end
  return true
end

local function sound(text, shape, rows)
  local read, found = pcall(cmsgpack.unpack, text)
  if not read or not fits(found, shape) then return nil end
  for part, row in pairs(rows or {}) do
    for _, each in ipairs(found[part]) do
      if not fits(each, row) then return nil end
    end
  end
  return found
end
