#!lua flags=no-writes,allow-oom
--- blocks: what is blocked (changes nothing)
-- ARGV: none
-- Answer: {version, rule, rule, ...}; at most a thousand, which is more than anybody makes
-- KEYS: meta blocks
-- @include schema
local answer = {tonumber(redis.call('HGET', k.meta, 'blocks') or 0)}
if answer[1] > 0 then
  for _, rule in ipairs(redis.call('ZRANGEBYSCORE', k.blocks, '-inf', '+inf', 'LIMIT', 0, 1000)) do answer[#answer + 1] = rule end
end
return answer
