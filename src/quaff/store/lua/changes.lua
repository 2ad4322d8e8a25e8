#!lua flags=no-writes,allow-oom
--- changes: what people have changed by hand, the newest first (changes nothing)
-- ARGV: how many at most
-- Answer: {entry, ...}, each as `audit` has it
-- KEYS: audit
-- @include schema
-- @include audit
local found = {}
for i = 0, tonumber(ARGV[1]) - 1 do
  local entry = redis.call('LINDEX', k.audit, i)
  if not entry then break end
  found[#found + 1] = entry
end
return found
