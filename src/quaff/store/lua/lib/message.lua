-- All that scripts read of a message. After byte 2 comes the digest of task and arguments. After byte 3, with its length
-- in four bytes, comes another message, for the time when the job is given up; then the job's own.
local function parts(message)
  if message:byte(1) ~= 3 or #message < 5 then return message, '' end
  local own = 6 + struct.unpack('>I4', message, 2)
  return message:sub(own), message:sub(6, own - 1)
end

local function digest(message)
  local own = parts(message)
  return own:byte(1) == 2 and own:sub(2, 17) or ''
end
