#!lua flags=allow-oom
--- pause: none of the queue's jobs is handed out, until it is resumed
-- ARGV: '1' to pause, '0' to resume, ms after which it resumes by itself or 0, who does it
-- Answer: 1 it was otherwise before; 0 it was not
-- Guarantees: what runs goes on; no lease is given while it is paused.
-- KEYS: meta
-- @include schema
-- @include clock
-- @include wake
-- @include audit
local on, lasts, who, now = ARGV[1] == '1', tonumber(ARGV[2]), ARGV[3], clock()
local before = redis.call('HEXISTS', k.meta, 'paused') == 1
if on then
  -- '0' for good, else the ms at which it is over.
  redis.call('HSET', k.meta, 'paused', ms(lasts > 0 and now + lasts or 0))
  audit(now, who, 'pause', lasts > 0 and ms(lasts) or '')
elseif before then
  redis.call('HDEL', k.meta, 'paused')
  audit(now, who, 'resume', '')
  hint()
end
return before ~= on and 1 or 0
