-- What a MessagePack text says, or nil where it was damaged: one job that nobody can read must not stop those beside it. `shape` has the
-- types of its parts; one of them, if any, is a list of lists, each with the types in `row`.
local function sound(text, shape, part, row)
  local read, found = pcall(cmsgpack.unpack, text)
  if not read or type(found) ~= 'table' then return nil end
  for i = 1, #shape do
    if type(found[i]) ~= shape[i] then return nil end
  end
  local list = part and found[part] or {}
  for i = 1, #list do
    local each = list[i]
    if type(each) ~= 'table' then return nil end
    for j = 1, #row do
      if type(each[j]) ~= row[j] then return nil end
    end
  end
  return found
end
