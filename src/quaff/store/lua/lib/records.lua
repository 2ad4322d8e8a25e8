-- Records in one text, each with its length in four bytes before it.
local function split_records(text)
  local list, at = {}, 1
  for _ = 1, #text do
    if at + 3 > #text then break end
    local size = struct.unpack('>I4', text, at)
    list[#list + 1] = text:sub(at + 4, at + 3 + size)
    at = at + 4 + size
  end
  return list
end

local function join_records(list)
  local sized = {}
  for i, record in ipairs(list) do sized[i] = struct.pack('>I4', #record) .. record end
  return table.concat(sized)
end
