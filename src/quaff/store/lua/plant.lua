#!lua
--- plant: nothing -> blocked | queued | scheduled, for the jobs of a flow, part after part, those that others wait for last; 'again':
--   nodes that have ended get another run
-- ARGV: flow, who stores it (random), 'new' or 'again', head (opaque), nodes that it has, nodes that are to end, bytes of their messages,
--   ttl of its outcome in ms, tombstone window in ms, 'f' in the first part and 'l' in the last one, then for each node: place, id,
--   message, route, numbers of its limits, spec, edges   (at most 30)
-- Answer: 1; 0 where it is gone, runs, or is stored by somebody else
-- Guarantees: what is sent twice is there once; what waits for a node is there before it starts. Another run has another id, and
--   the message of the one before, which is no dead letter any more. What is not stored to its end is forgotten.
-- KEYS: flows edges member tomb res done values drafts meta limits msg route
-- @include schema
-- @include clock
-- @include room
-- @include nodes
-- @include dead
-- @include forget_steps
-- @include flow
local flow, sower, again, now = ARGV[1], ARGV[2], ARGV[3] == 'again', clock()
local ended = redis.call('HEXISTS', k.tomb, flow) == 1
local begun = of_flow(flow, 'open')

if of_flow(flow, 'sow') == sower then
  -- It goes on.
elseif redis.call('HEXISTS', k.member, ARGV[12]) == 1 then
  -- The last part once more; what it began may have ended by now.
  return 1
elseif begun and not (again and ended) then
  return 0
elseif (again and not begun) or not ARGV[10]:find('f') then
  return 0
else
  local full = not again and refused(tonumber(ARGV[6]), tonumber(ARGV[7]))
  if full then return full end
  for _, key in ipairs({k.tomb, k.res}) do redis.call('HDEL', key, flow) end
  for _, word in ipairs({'bad', 'stop'}) do redis.call('HDEL', k.flows, flow .. word) end
  redis.call('HSET', k.flows, flow .. 'open', ARGV[6], flow .. 'terms', ARGV[8] .. ' ' .. ARGV[9], flow .. 'sow', sower, flow .. 'run', sower)
  if not again then redis.call('HSET', k.flows, flow .. 'size', ARGV[5], flow .. 'head', ARGV[4]) end
  redis.call('ZADD', k.done, ms(now + tonumber(ARGV[9])), flow)
end

-- Another run of a node: what it was, and what it is not any more.
local function once_more(field, spec)
  local before = node_at(field)
  redis.call('HINCRBY', k.flows, flow .. before[STATE], -1)
  redis.call('HDEL', k.member, before[JOB])
  redis.call('HDEL', k.values, field)
  -- A dead letter of the run before could be sent back alone, and run besides this one.
  unlist(before[JOB])
  redis.call('HDEL', k.msg, before[JOB])
  redis.call('HDEL', k.route, before[JOB])
  forget_steps({before[JOB]})
  local undo = before[UNDO] >= 0 and of_flow(flow, 'undo') or ''
  for at = 1, #undo, 4 do
    if undo:sub(at, at + 3) == struct.pack('>I4', before[UNDO]) then
      redis.call('HSET', k.flows, flow .. 'undo', undo:sub(1, at - 1) .. undo:sub(at + 4))
    end
  end
  -- What has joined behind it since that run was asked for took it for one that has ended.
  local children = edges_at(field)[CHILDREN]
  for at = #children, 1, -1 do
    if children[at][1] < tonumber(ARGV[5]) then break end
    local below = field_of(flow, children[at][1])
    local child = node_at(below)
    if child[STATE] == '' then
      child[NEEDS] = child[NEEDS] + 1
      if lost(before) then
        child[LOST] = child[LOST] - 1
        if children[at][2] == 'fail' then child[MISSED] = child[MISSED] - 1 end
      end
      set_node(below, child)
    end
  end
  for _, what in ipairs({CASE, UNDO, NAME}) do spec[what] = before[what] end
  if spec[CASE] == 'spared' then spec[CASE] = 'failure' end
end

-- Before what may end all of it.
if ARGV[10]:find('l') then
  redis.call('HDEL', k.flows, flow .. 'sow')
  redis.call('ZREM', k.done, flow)
end
for i = 11, #ARGV, 7 do
  local field, id, spec = field_of(flow, tonumber(ARGV[i])), ARGV[i + 1], cmsgpack.unpack(ARGV[i + 5])
  if redis.call('HEXISTS', k.member, id) == 0 then
    if again then
      once_more(field, spec)
    else
      redis.call('HSET', k.edges, field, ARGV[i + 6])
      redis.call('HSET', k.drafts, field, struct.pack('>I4', #ARGV[i + 3]) .. ARGV[i + 3] .. ARGV[i + 2])
      for _, each in ipairs(cmsgpack.unpack(ARGV[i + 4])) do redis.call('HSET', k.limits, each[1], each[2]) end
    end
    spec[JOB] = id
    set_node(field, spec)
    redis.call('HSET', k.member, id, field)
    if spec[STATE] == '' then
      stand(field, id)
      redis.call('HINCRBY', k.meta, 'blocked', 1)
      if spec[NEEDS] == 0 then decide_or_post(flow, field, spec, now) end
    end
  end
end
return 1
