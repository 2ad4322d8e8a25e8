#!lua flags=no-writes,allow-oom
--- holds: what the server thinks a process holds (changes nothing)
-- ARGV: process (8 bytes), the last id of the page before or '', most jobs in one call
-- Answer: {id, token, id, token, ...}, by id
-- KEYS: held active
-- @include schema

local process, after = ARGV[1], ARGV[2]
local from = after == '' and '[' .. process or '(' .. process .. after
local range = redis.call('ZRANGEBYLEX', k.held, from, '(' .. process .. string.rep('\255', 32), 'LIMIT', 0, tonumber(ARGV[3]))
local answer = {}
for _, member in ipairs(range) do
  local id = member:sub(9)
  local token = redis.call('HGET', k.active, id)
  if token then
    answer[#answer + 1] = id
    answer[#answer + 1] = token
  end
end
return answer
