#!lua flags=allow-oom
--- advance: a flow goes on, is stopped or forgotten where another script had to leave off
-- ARGV: what ('ended' 'decide' 'stop' 'forget'), flow and place of the node, or the flow, where to go on
-- Answer: 1
-- Guarantees: who waits for a node hears of its end once; what is said again changes nothing. The rest is posted again.
-- KEYS: nodes edges flows member msg route values drafts parcels meta tomb
-- @include schema
-- @include clock
-- @include parcels
-- @include away
-- @include nodes
-- @include flow
-- @include calloff
local now = clock()
-- Nodes that one call stops or forgets, and what to do, by what it is.
local NODES, HOW = 30, {}

-- The node of a parcel that is still to be done: nil for one that comes twice, or after another run of the flow has begun.
local function node_of(name, field, first)
  local parcel = cmsgpack.unpack(redis.call('HGET', k.parcels, name) or '\144')
  if tonumber(parcel[5]) ~= first then return end
  local current = parcel[6] == (of_flow(field:sub(1, 16), 'run') or '')
  local node = current and node_at(field)
  -- It is said again until somebody has mended it.
  if current and not node and redis.call('HEXISTS', k.nodes, field) == 1 then error('Bad data format: a node was damaged') end
  unpost(name)
  return node
end

function HOW.ended(field, first)
  local node = node_of('a' .. field, field, first)
  if node then tell_children(field, node, first, now) end
end

function HOW.decide(field, first)
  local node = node_of('d' .. field, field, first)
  if node and node[STATE] == '' then decide_or_post(field:sub(1, 16), field, node, now) end
end

-- Where to go on, or nil.
local function each_node(flow, first, act)
  local size = tonumber(of_flow(flow, 'size') or 0)
  local stop = math.min(first + NODES, size)
  for at = first, stop - 1 do
    local field = field_of(flow, at)
    local node = node_at(field)
    if node then act(node, field) end
  end
  return stop < size and stop or nil
end

function HOW.stop(flow, first)
  local stop = of_flow(flow, 'stop')
  if not stop or redis.call('HEXISTS', k.tomb, flow) == 1 then return unpost('h' .. flow) end
  local ttl, window, outcome = stop:match('^(%d+) (%d+) (.*)$')
  local further = each_node(flow, first, function(node)
    -- Whoever undoes is not called off.
    if node[STATE] == '' or (node[STATE] == 'q' and not node[NAME]:find('/undo$')) then
      consequences[node[JOB]] = true
      call_off(node[JOB], outcome, tonumber(ttl), tonumber(window), now)
    end
  end)
  if further then post('h' .. flow, {'advance', HERE, 'stop', flow, ms(further)}, now) else unpost('h' .. flow) end
end

function HOW.forget(flow, first)
  local further = each_node(flow, first, function(node, field)
    if node[STATE] == '' then
      redis.call('HDEL', k.msg, node[JOB])
      redis.call('HDEL', k.route, node[JOB])
      redis.call('HINCRBY', k.meta, 'blocked', -1)
      redis.call('HINCRBY', k.meta, 'enqueued', -1)
    end
    redis.call('HDEL', k.member, node[JOB])
    for _, key in ipairs({k.nodes, k.edges, k.values, k.drafts}) do redis.call('HDEL', key, field) end
  end)
  if further then
    post('f' .. flow, {'advance', HERE, 'forget', flow, ms(further)}, now)
  else
    unpost('f' .. flow)
    for _, word in ipairs({'open', 'size', 's', 'f', 'c', 'e', 'bad', 'stop', 'terms', 'undo', 'head', 'sow', 'run'}) do redis.call('HDEL', k.flows, flow .. word) end
  end
end

HOW[ARGV[1]](ARGV[2], tonumber(ARGV[3]))
return 1
