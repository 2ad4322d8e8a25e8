#!lua
--- enqueue: nothing -> queued
-- ARGV: id, message, id, message, ...   (at most 500 pairs; ids of 16 bytes)
-- Answer: one item a job: 0 stored; 1 it is there already; 's' 'f' 'c' 'e' it is there and has ended;
--   'x' the same id with another digest of task and arguments.
-- Guarantees: an id is stored once, however often it is sent, as long as its tombstone lives. All jobs or, when the
--   memory is full, none (no allow-oom: the server refuses before the first line).
-- KEYS: msg tomb ready meta
-- @include schema
-- @include wake
-- @include met
-- @include room

local ids = {}
for i = 1, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local live = redis.call('HMGET', k.msg, unpack(ids))
local ended = redis.call('HMGET', k.tomb, unpack(ids))

local answers, writes, fresh, here, size = {}, {}, {}, {}, 0
for i, id in ipairs(ids) do
  local message = ARGV[2 * i]
  answers[i] = met(message, here[id] or live[i], ended[i]) or 0
  if answers[i] == 0 then
    here[id], size = message, size + #message
    fresh[#fresh + 1] = id
    writes[#writes + 1] = id
    writes[#writes + 1] = message
  end
end

local full = refused(#fresh, size)
if full then return full end
if #fresh > 0 then
  redis.call('HSET', k.msg, unpack(writes))
  redis.call('LPUSH', k.ready, unpack(fresh))
  redis.call('HINCRBY', k.meta, 'enqueued', #fresh)
  hint()
end
return answers
