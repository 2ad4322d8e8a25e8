#!lua flags=no-writes,allow-oom
--- series: what was counted in each minute or hour, of one task or of all (changes nothing)
-- ARGV: 'm' or 'h', a task's name or '', how many, with the present one
-- Answer: {number of the present minute or hour, the numbers of each as a MessagePack map or '', the present one first}
-- KEYS: series
-- @include schema
-- @include clock
local present = math.floor(clock() / (ARGV[1] == 'm' and 60000 or 3600000))
local fields = {}
for i = 0, math.min(tonumber(ARGV[3]), 1500) - 1 do fields[#fields + 1] = ARGV[1] .. present - i .. ':' .. ARGV[2] end
local answer = {present}
for i, text in ipairs(redis.call('HMGET', k.series, unpack(fields))) do answer[i + 1] = text or '' end
return answer
