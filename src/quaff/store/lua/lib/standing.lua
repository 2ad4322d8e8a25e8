-- How many jobs are where, and what has been counted, by name; see `stats`.
-- KEYS: meta ready solo prio backlog sched heirs parked active dead away lease
-- @include clock
local function standing(now)
  local paused = redis.call('HGET', k.meta, 'paused')
  local until_ms = tonumber(paused or 0)
  -- Ids sort by time, but those of keyed jobs.
  local function created(id)
    if not id or math.floor(id:byte(7) / 16) ~= 7 then return 0 end
    local high, low = struct.unpack('>I2I4', id)
    return high * 4294967296 + low
  end
  local answer = {
    'queued', math.max(0, redis.call('LLEN', k.ready) + redis.call('LLEN', k.solo) - tonumber(redis.call('HGET', k.meta, 'ghosts') or 0)) + redis.call('ZCARD', k.prio) + redis.call('ZCARD', k.backlog),
    'scheduled', redis.call('ZCARD', k.sched),
    'blocked', redis.call('HLEN', k.heirs) + tonumber(redis.call('HGET', k.meta, 'blocked') or 0),
    'parked', redis.call('ZCARD', k.parked),
    'running', redis.call('HLEN', k.active),
    'away', redis.call('HLEN', k.away),
    'dead_letters', redis.call('ZCARD', k.dead),
    'head_ms', created(redis.call('LINDEX', k.ready, -1)),
    'processes', redis.call('ZCARD', k.lease) - #redis.call('ZRANGEBYSCORE', k.lease, '-inf', ms(now), 'LIMIT', 0, 1000),
    'paused', not paused and -1 or until_ms > 0 and math.max(0, until_ms - now) or 0,
  }
  local counters = {'enqueued', 'succeeded', 'failed', 'cancelled', 'expired', 'retried'}
  for i, text in ipairs(redis.call('HMGET', k.meta, unpack(counters))) do
    answer[#answer + 1] = counters[i]
    answer[#answer + 1] = tonumber(text or 0)
  end
  return answer
end
