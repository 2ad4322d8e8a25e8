-- What is kept for people until a time: a hash, and beside it a sorted set of its fields by when they go. Where there are
-- as many as there may be, the first to go makes room.
local function shelve(key, line, field, value, ends, most)
  if redis.call('HEXISTS', key, field) == 0 and redis.call('ZCARD', line) >= most then
    local first = redis.call('ZRANGEBYSCORE', line, '-inf', '+inf', 'LIMIT', 0, 1)[1]
    redis.call('HDEL', key, first)
    redis.call('ZREM', line, first)
  end
  redis.call('HSET', key, field, value)
  redis.call('ZADD', line, string.format('%.0f', ends), field)
end
