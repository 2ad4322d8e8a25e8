#!lua flags=allow-oom
--- block: jobs of a task, or those with certain arguments, are not started until they are unblocked
-- ARGV: rule (opaque, its own key), '1' to block or '0' to unblock, who, what it says for people
-- Answer: 1 done; 0 it was so before
-- Guarantees: workers know it with their next claim; what runs, and what a worker has in hand, goes on. What was put aside
--   for a rule comes back with the next sweeps after it is gone.
-- KEYS: blocks meta parked
-- @include schema
-- @include clock
-- @include audit
local rule, now = ARGV[1], clock()
local changed
if ARGV[2] == '1' then changed = redis.call('ZADD', k.blocks, 'NX', ms(now), rule) else changed = redis.call('ZREM', k.blocks, rule) end
if changed == 1 then
  -- A version that never comes again, also where the rules are the same as before.
  local version = redis.call('HINCRBY', k.meta, 'blocks_changed', 1)
  if redis.call('ZCARD', k.blocks) > 0 then redis.call('HSET', k.meta, 'blocks', version) else redis.call('HDEL', k.meta, 'blocks') end
  if ARGV[2] == '0' then redis.call('HSET', k.meta, 'unpark', redis.call('ZCARD', k.parked)) end
  audit(now, ARGV[3], ARGV[2] == '1' and 'block' or 'unblock', ARGV[4])
end
return changed
