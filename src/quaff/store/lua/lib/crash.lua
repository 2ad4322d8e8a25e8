-- What happens to a job whose process is gone. `tries` holds "attempts crashes lapses" of ids that crashed or lapsed.
-- Needs: clock, wake, end. Keys by name are the script's own locals.
local function read_tries(text)
  if not text then return 0, 0, 0 end
  local attempts, crashes, lapses = text:match('^(%d+) (%d+) (%d+)$')
  return tonumber(attempts), tonumber(crashes), tonumber(lapses)
end

local function remember(history, id, record)
  redis.call('HSET', history, id, (redis.call('HGET', history, id) or '') .. struct.pack('>I4', #record) .. record)
end

-- Takes one job from its process and returns its token, or nil if it was not held.
local function take_back(k, process, id)
  local token = redis.call('HGET', k.active, id)
  redis.call('ZREM', k.held, process .. id)
  if not token then return nil end
  redis.call('HDEL', k.active, id)
  return token
end

-- A crash is charged: back to run alone, or, at the limit, a dead letter. True if it ended.
local function charge(k, id, token, attempts, crashes, lapses, now, rules, outcome)
  attempts, crashes = attempts + 1, crashes + 1
  if crashes < rules.max_crashes then
    redis.call('HSET', k.tries, id, attempts .. ' ' .. crashes .. ' ' .. lapses)
    redis.call('LPUSH', k.solo, id)
    return false
  end
  local gone = now + math.max(rules.failed_ttl, rules.window)
  redis.call('HDEL', k.tries, id)
  redis.call('HSET', k.tomb, id, tombstone('f', gone, token, redis.call('HGET', k.msg, id)))
  redis.call('HSET', k.res, id, outcome)
  redis.call('ZADD', k.done, ms(now + rules.failed_ttl), id)
  redis.call('HINCRBY', k.meta, 'failed', 1)
  return true
end

-- A process that is gone is handed nothing any more; its entry goes with the tombstones.
local function close(k, process, now, window, holds_jobs)
  redis.call('HSET', k.claims, process, 'closed')
  if not holds_jobs then redis.call('ZREM', k.lease, process) end
  redis.call('ZADD', k.done, ms(now + window), process)
end
