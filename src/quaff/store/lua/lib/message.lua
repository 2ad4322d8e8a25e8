-- All that scripts read of a message. After byte 2 or 7 comes the digest of task and arguments. Before that stand layers: a byte, a
-- length in four bytes, and 3: another message, for the time when the job is given up; 4: the results of others that it is
-- given; 5: where a traveller comes from.
local function layer(kind, text, message) return string.char(kind) .. struct.pack('>I4', #text) .. text .. message end

local function parts(message)
  local layers = {}
  for _ = 1, 4 do
    local kind = message:byte(1)
    if not kind or kind < 3 or kind > 5 or #message < 5 then break end
    local own = 6 + struct.unpack('>I4', message, 2)
    layers[kind] = message:sub(6, own - 1)
    message = message:sub(own)
  end
  return message, layers
end

local function digest(message)
  local own = parts(message)
  return (own:byte(1) == 2 or own:byte(1) == 7) and own:sub(2, 17) or ''
end
