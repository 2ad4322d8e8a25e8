-- Whether a queue takes so many new jobs with so many bytes of messages; nothing if it does, else the error to answer with.
-- `meta.max_jobs` and `meta.max_bytes` are an operator's; what waits and runs counts, dead letters do not. The sweep keeps the
-- rate at which jobs end.
-- KEYS: meta msg dead
-- Bytes that a hash takes for each of its fields, besides a message.
local ENTRY = 64

local function bounded() return redis.call('HEXISTS', k.meta, 'max_jobs') + redis.call('HEXISTS', k.meta, 'max_bytes') > 0 end

local function refused(count, size)
  local found = redis.call('HMGET', k.meta, 'max_jobs', 'max_bytes', 'rate', 'dead_msgs')
  local max_jobs, max_bytes = tonumber(found[1]), tonumber(found[2])
  if not (max_jobs or max_bytes) or count == 0 then return nil end
  local dead = redis.call('ZCARD', k.dead)
  local all = redis.call('HLEN', k.msg) - dead + count
  local over = max_jobs and all - max_jobs or 0
  if max_bytes and over <= 0 then
    local bytes = (redis.call('MEMORY', 'USAGE', k.msg, 'SAMPLES', 20) or 0) - (tonumber(found[4]) or 0) - ENTRY * dead + size
    if bytes > max_bytes then over = math.ceil(all * (1 - max_bytes / bytes)) end
  end
  if over <= 0 then return nil end
  local per_second = tonumber(found[3]) or 0
  local seconds = per_second > 0 and math.min(60, math.max(1, math.ceil(over / per_second))) or 60
  return {err = 'QUAFFFULL ' .. seconds}
end
