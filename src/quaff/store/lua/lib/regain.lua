-- What its nodes alone tell of a flow, where some of the rest has gone: its record, whose job each node is, and which of them will not
-- end any more, because their jobs have ended without a word or are gone. Without nodes it has failed.
-- KEYS: flows member msg tomb res
-- @include flow
-- @include nodes
-- How many jobs one call ends.
local MOST_ENDED = 50

-- How it stands, counted anew: which nodes ended first, and what the flow was to return, nobody can tell any more.
local function recount(flow, nodes)
  local record = {open = 0, size = #nodes, s = 0, f = 0, c = 0, e = 0, terms = '86400000 86400000', head = '', run = '', undo = ''}
  for at, node in ipairs(nodes) do
    local state = node[STATE]
    if state == '' or state == 'q' then
      record.open = record.open + 1
    elseif record[state] then
      record[state] = record[state] + 1
      local undoer = state == 's' and nodes[node[UNDO] + 1]
      if undoer and undoer[STATE] == 'u' then record.undo = record.undo .. struct.pack('>I4', node[UNDO]) end
      if lost(node) and not (record.bad and nodes[record.bad + 1][STATE] == 'f') and (state == 'f' or not record.bad) then record.bad = at - 1 end
    end
  end
  for word, value in pairs(record) do redis.call('HSET', k.flows, flow .. word, value) end
end

-- False where it has more nodes than `most`, or where the rest is for the next call.
local function regain(flow, most, now)
  local size, nodes = tonumber(of_flow(flow, 'size')) or most + 1, {}
  for at = 0, math.min(size, most + 1) - 1 do
    local node = node_at(field_of(flow, at))
    if not node then break end
    nodes[at + 1] = node
  end
  local known = of_flow(flow, 'open')
  if #nodes > most or (#nodes < size and known and #nodes > 0) then return false end
  for at, node in ipairs(nodes) do
    redis.call('HSET', k.member, node[JOB], field_of(flow, at - 1))
  end
  if not known and #nodes > 0 then recount(flow, nodes) end
  if redis.call('HEXISTS', k.tomb, flow) == 1 then return true end
  if known and #nodes == 0 then
    redis.call('HSET', k.flows, flow .. 'open', 0, flow .. 'bad', 0)
    redis.call('HDEL', k.flows, flow .. 'undo')
  end
  local ended = 0
  for at = 0, #nodes - 1 do
    local node = node_at(field_of(flow, at))
    local id = node[JOB]
    if node[STATE] == '' or node[STATE] == 'q' then
      local over = redis.call('HGET', k.tomb, id)
      if ended >= MOST_ENDED then return false end
      if over then
        node_ended(id, over:sub(1, 1):lower(), redis.call('HGET', k.res, id) or '', now)
        ended = ended + 1
      elseif redis.call('HEXISTS', k.msg, id) == 0 then
        give_up(flow, id, 'it is gone', now)
        ended = ended + 1
      end
    end
  end
  if redis.call('HEXISTS', k.tomb, flow) == 0 then rest(flow, now) end
  return true
end
