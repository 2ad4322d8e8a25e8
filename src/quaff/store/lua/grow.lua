#!lua
--- grow: nothing -> blocked | queued, for a job that joins a flow while it runs
-- ARGV: flow, id, message, route, numbers of its limits, spec, edges, {{place, policy}, ...} of those that it waits for, id of the job
--   that adds it, or '': who waits for that one waits for the new one, too; nodes that the flow had when that was looked up, or '';
--   nodes that it may have; jobs that may wait for the one that adds it, of which each is told that it waits for one more
-- Answer: its place; -1 where the flow has ended or is not known, -2 where others have joined it since, -3 where it is full,
--   -4 where more wait for the one that adds it
-- Guarantees: what is sent twice is there once.
-- KEYS: flows edges member tomb drafts meta limits parcels
-- @include schema
-- @include clock
-- @include room
-- @include nodes
-- @include flow
local flow, id, after, adder, now = ARGV[1], ARGV[2], cmsgpack.unpack(ARGV[8]), ARGV[9], clock()
local known = redis.call('HGET', k.member, id)
if known then return struct.unpack('>I4', known, 17) end
if redis.call('HEXISTS', k.flows, flow .. 'head') == 0 or redis.call('HEXISTS', k.tomb, flow) == 1 then return -1 end
local at = tonumber(of_flow(flow, 'size'))
if ARGV[10] ~= '' and tonumber(ARGV[10]) ~= at then return -2 end
if at >= tonumber(ARGV[11]) then return -3 end
local source = adder ~= '' and redis.call('HGET', k.member, adder)
local below = source and source:sub(1, 16) == flow and edges_at(source)[CHILDREN] or {}
if #below > tonumber(ARGV[12]) then return -4 end
local full = refused(1, #ARGV[3])
if full then return full end

-- Whether those that wait for a node have still to hear of its end, some of them at least.
local function untold(field, node)
  if node[STATE] == '' or node[STATE] == 'q' then return true end
  local parcel = redis.call('HGET', k.parcels, 'a' .. field)
  return parcel and cmsgpack.unpack(parcel)[6] == of_flow(flow, 'run')
end

local field, spec, edges = field_of(flow, at), cmsgpack.unpack(ARGV[6]), cmsgpack.unpack(ARGV[7])
spec[JOB] = id
edges[CHILDREN] = below
for _, each in ipairs(below) do
  local place = field_of(flow, each[1])
  local child, its = node_at(place), edges_at(place)
  child[NEEDS] = child[NEEDS] + 1
  its[PARENTS][#its[PARENTS] + 1] = at
  set_node(place, child)
  redis.call('HSET', k.edges, place, cmsgpack.pack(its))
end
for _, each in ipairs(after) do
  local above = field_of(flow, each[1])
  local parent, its = node_at(above), edges_at(above)
  edges[PARENTS][#edges[PARENTS] + 1] = each[1]
  -- Also behind one that has ended: if that runs again, this one comes after it.
  its[CHILDREN][#its[CHILDREN] + 1] = {at, each[2]}
  redis.call('HSET', k.edges, above, cmsgpack.pack(its))
  if untold(above, parent) then
    spec[NEEDS] = spec[NEEDS] + 1
  elseif lost(parent) then
    spec[LOST] = spec[LOST] + 1
    if each[2] == 'fail' then spec[MISSED] = spec[MISSED] + 1 end
  end
end
redis.call('HSET', k.flows, flow .. 'size', at + 1)
redis.call('HINCRBY', k.flows, flow .. 'open', 1)
set_node(field, spec)
redis.call('HSET', k.edges, field, cmsgpack.pack(edges))
redis.call('HSET', k.member, id, field)
redis.call('HSET', k.drafts, field, struct.pack('>I4', #ARGV[4]) .. ARGV[4] .. ARGV[3])
for _, each in ipairs(cmsgpack.unpack(ARGV[5])) do redis.call('HSET', k.limits, each[1], each[2]) end
stand(field, id)
redis.call('HINCRBY', k.meta, 'blocked', 1)
if spec[NEEDS] == 0 then decide(flow, field, spec, now) end
return at
