#!lua
--- grow: nothing -> blocked | queued, for a job that joins a flow while it runs
-- ARGV: flow, id, message, route, numbers of its limits, spec, {{place, policy}, ...} of those that it waits for, id of the job that
--   adds it, or '': who waits for that one waits for the new one, too
-- Answer: its place; -1 where the flow has ended or is not known
-- Guarantees: what is sent twice is there once.
-- KEYS: flows member tomb drafts meta limits
-- @include schema
-- @include clock
-- @include room
-- @include nodes
-- @include flow
local flow, id, now = ARGV[1], ARGV[2], clock()
local known = redis.call('HGET', k.member, id)
if known then return struct.unpack('>I4', known, 17) end
if redis.call('HEXISTS', k.flows, flow .. 'head') == 0 or redis.call('HEXISTS', k.tomb, flow) == 1 then return -1 end
local full = refused(1)
if full then return full end
local at = redis.call('HINCRBY', k.flows, flow .. 'size', 1) - 1
local field, spec = field_of(flow, at), cmsgpack.unpack(ARGV[6])
spec[JOB] = id
local adder = ARGV[8] ~= '' and node_at(redis.call('HGET', k.member, ARGV[8]) or '')
if adder then
  spec[CHILDREN] = adder[CHILDREN]
  for _, each in ipairs(adder[CHILDREN]) do
    local below = field_of(flow, each[1])
    local child = node_at(below)
    child[NEEDS] = child[NEEDS] + 1
    child[PARENTS][#child[PARENTS] + 1] = at
    set_node(below, child)
  end
end
for _, each in ipairs(cmsgpack.unpack(ARGV[7])) do
  local above = field_of(flow, each[1])
  local parent = node_at(above)
  spec[PARENTS][#spec[PARENTS] + 1] = each[1]
  if parent[STATE] == '' or parent[STATE] == 'q' then
    parent[CHILDREN][#parent[CHILDREN] + 1] = {at, each[2]}
    set_node(above, parent)
    spec[NEEDS] = spec[NEEDS] + 1
  elseif lost(parent) then
    spec[LOST] = spec[LOST] + 1
    if each[2] == 'fail' then spec[MISSED] = spec[MISSED] + 1 end
  end
end
redis.call('HINCRBY', k.flows, flow .. 'open', 1)
set_node(field, spec)
redis.call('HSET', k.member, id, field)
redis.call('HSET', k.drafts, field, struct.pack('>I4', #ARGV[4]) .. ARGV[4] .. ARGV[3])
for _, each in ipairs(cmsgpack.unpack(ARGV[5])) do redis.call('HSET', k.limits, each[1], each[2]) end
stand(field, id)
redis.call('HINCRBY', k.meta, 'blocked', 1)
if spec[NEEDS] == 0 then decide(flow, field, spec, now) end
return at
