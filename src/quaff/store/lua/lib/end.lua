-- The end of one job on a path that is walked rarely; settle does the same for many at once.
-- A tombstone is: one letter for the state, 13 digits of the millisecond it goes, the lease token, '|' and the digest.
local function tombstone(letter, gone, token, message)
  local digest = (message and message:byte(1) == 2) and message:sub(2, 17) or ''
  return letter .. string.format('%013.0f', gone) .. token .. '|' .. digest
end
