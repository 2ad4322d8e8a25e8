-- The end of one job on a path that is walked rarely; settle does the same for many at once.
-- A tombstone is: one letter for the state, 13 digits of the millisecond it goes, the lease token, '|' and the digest.
-- Needs: clock. `k` has the keys by name.
local NAME_OF = {f = 'failed', c = 'cancelled'}
local function finish(k, id, letter, token, record, ttl, now, window)
  local message = redis.call('HGET', k.msg, id)
  local digest = (message and message:byte(1) == 2) and message:sub(2, 17) or ''
  local gone = now + math.max(ttl, window)
  redis.call('HSET', k.tomb, id, letter .. string.format('%013.0f', gone) .. token .. '|' .. digest)
  redis.call('HDEL', k.tries, id)
  -- A dead letter keeps its message, so that it can be sent back.
  if letter ~= 'f' then redis.call('HDEL', k.msg, id) end
  if ttl > 0 then redis.call('HSET', k.res, id, record) end
  redis.call('ZADD', k.done, ms(ttl > 0 and now + ttl or gone), id)
  redis.call('HINCRBY', k.meta, NAME_OF[letter], 1)
end
