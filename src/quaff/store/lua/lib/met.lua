-- Whether an id was stored before: nil if not, 1 if it is there, the letter of the state in which it ended, or 'x' where the
-- digest of task and arguments is another one. `there` and `ended` are its message and tombstone.
-- @include message
local function met(message, there, ended)
  if ended then
    -- Looked at from the end: a token may hold any byte.
    local same = digest(message) == '' or ended:sub(-17) == '|' .. digest(message)
    return same and ended:sub(1, 1):lower() or 'x'
  end
  if there then return digest(there) == digest(message) and 1 or 'x' end
end
