#!lua flags=no-writes,allow-oom
--- brakes: what a queue is held up by, asked of its first partition (changes nothing)
-- ARGV: none
-- Answer: {'' not paused, '0' for good, else the ms at which a pause is over; ms until then; most jobs or ''; most bytes or ''}
-- KEYS: meta
-- @include schema
-- @include clock

local set = redis.call('HMGET', k.meta, 'paused', 'max_jobs', 'max_bytes')
local until_ms = tonumber(set[1] or 0)
return {set[1] or '', until_ms > 0 and math.max(1, until_ms - clock()) or 0, set[2] or '', set[3] or ''}
