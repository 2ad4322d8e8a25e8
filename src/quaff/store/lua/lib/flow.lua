-- What the end of a node means for its flow.
-- KEYS: flows values drafts edges msg tomb res done meta
-- @include clock
-- @include watched
-- @include message
-- @include route
-- @include place
-- @include parcels
-- @include away
-- @include nodes
-- How much one call does, where a look at a node is 1, what comes of it 5 and a KiB of results 1; the rest goes on in the next one.
local FLOW_WORK, work = 1000, 0
-- Bytes of results that one job is given.
local MOST_INPUT = 16777216
-- What `end` gives this file, which it needs itself.
local LATER = {}

-- The record of an end that no attempt came to.
local function verdict(word, reason, kind, text, now)
  return cmsgpack.pack({'', 0, {0, 0, now, '', 0, word, {reason, kind, text, ''}}})
end

-- For how long the outcomes of a flow are kept, and remembered; a day where its record is gone.
local function terms_of(flow)
  local ttl, window = (of_flow(flow, 'terms') or ''):match('^(%d+) (%d+)$')
  return tonumber(ttl or 86400000), tonumber(window or 86400000)
end

-- A job as its draft has it, where there is one.
local function stand(field, id)
  local draft = redis.call('HGET', k.drafts, field) or ''
  redis.call('HINCRBY', k.meta, 'enqueued', 1)
  if #draft < 4 then return end
  local size = struct.unpack('>I4', draft)
  redis.call('HSET', k.msg, id, draft:sub(5 + size))
  if size > 0 then set_route(id, draft:sub(5, 4 + size)) end
end

-- Ends a job that nobody can run, as if it had been cancelled alone: those that need it miss it.
local function give_up(flow, id, text, now)
  local ttl, window = terms_of(flow)
  LATER.finish(id, 'c', '', verdict('cancelled', 'cancelled', '', text, now), ttl, now, window)
end

local function release(flow, field, node, now)
  local records, size, id = {}, 0, node[JOB]
  for i, at in ipairs(edges_at(field)[INPUTS]) do
    local record = redis.call('HGET', k.values, field_of(flow, at)) or ''
    records[i] = struct.pack('>I4', #record) .. record
    size = size + #records[i]
    if size > MOST_INPUT then break end
  end
  work = work + size / 1024
  local undoes = node[STATE] == 'u'
  if undoes then stand(field, id) else redis.call('HINCRBY', k.meta, 'blocked', -1) end
  node[STATE] = 'q'
  set_node(field, node)
  if size > MOST_INPUT then
    local ttl, window = terms_of(flow)
    LATER.finish(id, 'f', '', verdict('failed', 'error', 'MessageTooLarge', 'the results it depends on are more than 16 MiB together', now), ttl, now, window)
    return
  end
  if undoes or #records > 0 then
    local known = #records > 0 or redis.call('HEXISTS', k.edges, field) == 1
    local message = known and redis.call('HGET', k.msg, id)
    if not message then
      give_up(flow, id, 'its message, or what it was to undo, is gone', now)
      return
    end
    if #records > 0 then redis.call('HSET', k.msg, id, layer(4, table.concat(records), message)) end
  end
  start_waiting(id, node[DUE] > 0 and node[DUE] or now + node[DELAY], now)
end

local function end_flow(flow, now)
  local stop, bad = of_flow(flow, 'stop'), of_flow(flow, 'bad')
  local ttl, window = terms_of(flow)
  local letter, record = 's', cmsgpack.pack({'', 0, {0, 0, now, '', 0, 'succeeded'}})
  if stop then
    letter, ttl, window, record = 'c', stop:match('^(%d+) (%d+) (.*)$')
  elseif bad then
    letter, record = 'f', verdict('failed', 'error', 'FlowFailed', (node_at(field_of(flow, tonumber(bad))) or {})[NAME] or '', now)
  end
  local gone = now + math.max(tonumber(ttl), tonumber(window))
  redis.call('HSET', k.tomb, flow, letter .. string.format('%013.0f', gone) .. '|')
  redis.call('HSET', k.res, flow, record)
  redis.call('ZADD', k.done, ms(now + math.max(1, tonumber(ttl))), flow)
  tell({flow})
end

-- All nodes have ended: what was done is undone, the last first, where the whole has failed; then the flow has ended.
local function rest(flow, now)
  if tonumber(of_flow(flow, 'open') or 1) > 0 then return end
  local undo = (of_flow(flow, 'stop') or of_flow(flow, 'bad')) and of_flow(flow, 'undo') or ''
  if undo == '' then
    end_flow(flow, now)
    return
  end
  local field = flow .. undo:sub(-4)
  local node = node_at(field)
  if not node then
    end_flow(flow, now)
    return
  end
  redis.call('HSET', k.flows, flow .. 'undo', undo:sub(1, -5))
  redis.call('HINCRBY', k.flows, flow .. 'open', 1)
  release(flow, field, node, now)
end

-- Jobs that end because of others: their own failure does not count.
local consequences = {}

local function end_waiting(flow, node, text, now)
  consequences[node[JOB]] = true
  give_up(flow, node[JOB], text, now)
end

-- What becomes of a node that waits for nothing more.
local function decide(flow, field, node, now)
  if of_flow(flow, 'stop') then
    end_waiting(flow, node, 'its flow was cancelled', now)
  elseif node[CASE] == 'failure' and node[LOST] == 0 then
    node[CASE] = 'spared'
    set_node(field, node)
    end_waiting(flow, node, 'it is for the case of a failure, and there was none', now)
  elseif node[CASE] ~= 'failure' and node[MISSED] > 0 then
    end_waiting(flow, node, 'something it depends on has not succeeded', now)
  else
    release(flow, field, node, now)
  end
end

-- As much of it as one call does; what is put off is for the run of the flow that it was in.
local function decide_or_post(flow, field, node, now)
  if work >= FLOW_WORK then
    post('d' .. field, {'advance', HERE, 'decide', field, '0', of_flow(flow, 'run') or ''}, now)
  else
    work = work + 5
    decide(flow, field, node, now)
  end
end

-- Tells those that wait for a node, from the one at `first` on, that it has ended.
local function tell_children(field, node, first, now)
  local flow, children = field:sub(1, 16), edges_at(field)[CHILDREN]
  for i = first, #children do
    if work >= FLOW_WORK then
      post('a' .. field, {'advance', HERE, 'ended', field, ms(i), of_flow(flow, 'run') or ''}, now)
      return
    end
    work = work + 1
    local at, policy = unpack(children[i])
    local below = field_of(flow, at)
    local child = node_at(below)
    -- Of what is being forgotten some are gone.
    if child then
      child[NEEDS] = child[NEEDS] - 1
      if lost(node) then
        child[LOST] = child[LOST] + 1
        if policy == 'fail' then child[MISSED] = child[MISSED] + 1 end
      end
      set_node(below, child)
      if child[NEEDS] == 0 and child[STATE] == '' then decide_or_post(flow, below, child, now) end
    end
  end
  rest(flow, now)
end

local function counts(field, id)
  if consequences[id] then return false end
  local children = edges_at(field)[CHILDREN]
  for _, each in ipairs(children) do
    if each[2] ~= 'ignore' then return true end
  end
  return #children == 0
end

-- One at a time, and those that end by it after it: no end within an end.
local ending = nil
local function node_ended(id, letter, record, now)
  local field = is_node(id)
  local node = field and node_at(field)
  if not node or (node[STATE] ~= '' and node[STATE] ~= 'q') then return end
  local flow = field:sub(1, 16)
  if node[STATE] == '' then redis.call('HINCRBY', k.meta, 'blocked', -1) end
  node[STATE] = letter
  set_node(field, node)
  -- Where the record of the flow is gone nothing is counted, and its jobs go on: an audit makes it anew.
  local counted = redis.call('HINCRBY', k.flows, flow .. 'open', -1) >= 0
  if counted then redis.call('HINCRBY', k.flows, flow .. letter, 1) else redis.call('HDEL', k.flows, flow .. 'open') end
  if letter == 's' then
    redis.call('HSET', k.values, field, record)
    if counted and node[UNDO] >= 0 then redis.call('HSET', k.flows, flow .. 'undo', (of_flow(flow, 'undo') or '') .. struct.pack('>I4', node[UNDO])) end
  elseif counted and counts(field, id) then
    redis.call('HSETNX', k.flows, flow .. 'bad', field:byte(17) * 16777216 + field:byte(18) * 65536 + field:byte(19) * 256 + field:byte(20))
  end
  if ending then
    ending[#ending + 1] = {field, node}
    return
  end
  ending = {{field, node}}
  for at = 1, 100000 do
    if not ending[at] then break end
    tell_children(ending[at][1], ending[at][2], 1, now)
  end
  ending = nil
end
-- @include end
