-- How a job ends; settle does it for many plain ones at once, where they have succeeded.
-- A tombstone is: one letter for the state, 13 digits of the millisecond it goes, the lease token, '|' and the digest.
-- KEYS: msg tomb ready meta tries stop res done called_off
-- @include clock
-- @include wake
-- @include watched
-- @include message
-- @include route
-- @include unique
-- @include tail
-- @include dead
-- @include away
-- @include travels
-- @include flow
-- @include forget_steps
-- The last so many that did not end by themselves, which nothing else lists.
local MOST_CALLED_OFF = 1000
local NAME_OF = {s = 'succeeded', f = 'failed', c = 'cancelled', e = 'expired'}

-- The message that a job carries for this case becomes a job: the time, then what tells the first job from all others.
local function follow_up(id, message, now)
  local _, layers = parts(message)
  local other = layers[3] or ''
  if other == '' then return end
  for later = 0, 99 do
    local at = now + later
    local new = struct.pack('>I2I4', math.floor(at / 4294967296), at % 4294967296) .. string.char(112 + id:byte(7) % 16) .. id:sub(8)
    if redis.call('HEXISTS', k.msg, new) + redis.call('HEXISTS', k.tomb, new) == 0 then
      redis.call('HSET', k.msg, new, other)
      redis.call('LPUSH', k.ready, new)
      redis.call('HINCRBY', k.meta, 'enqueued', 1)
      hint()
      return
    end
  end
end

local function finish(id, letter, token, record, ttl, now, window)
  local message = redis.call('HGET', k.msg, id) or ''
  local traveller = travels(id)
  if traveller then
    send_home(id, letter, ttl, record, '', '', now)
    ttl = 0
  end
  local gone = now + math.max(ttl, window)
  local mark = (letter == 's' and ttl == 0) and 'S' or letter
  redis.call('HSET', k.tomb, id, mark .. string.format('%013.0f', gone) .. token .. '|' .. digest(message))
  redis.call('HDEL', k.tries, id)
  redis.call('HDEL', k.stop, id)
  local route = route_of(id)
  if route then let_go({[id] = route}, 'done', now) end
  -- A dead letter keeps its message and its steps, so that it can be sent back.
  local dead = letter == 'f' and not traveller
  if not dead then
    redis.call('HDEL', k.msg, id)
    forget_steps({id})
    if route then forget_routes({id}) end
  end
  if ttl > 0 then redis.call('HSET', k.res, id, record) else forget_tails({id}) end
  redis.call('ZADD', k.done, ms(ttl > 0 and now + ttl or gone), id)
  redis.call('HINCRBY', k.meta, NAME_OF[letter], 1)
  if letter == 'c' or letter == 'e' then
    redis.call('LPUSH', k.called_off, id .. letter .. string.format('%013.0f', now))
    redis.call('LTRIM', k.called_off, 0, MOST_CALLED_OFF - 1)
  end
  tell({id})
  if dead then
    list(id, now)
    follow_up(id, message, now)
  end
  node_ended(id, letter, record, now)
end
LATER.finish = finish
