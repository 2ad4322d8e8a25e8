-- A flow is jobs that wait for each other, its nodes, in the partition in which it is at home; those of other queues travel. `flows`
-- has by the flow's id and a word: 'open' (nodes that have not ended), 'size', 's' 'f' 'c' 'e' (nodes that ended so), 'bad' (the
-- first node whose failure counts), 'stop' (as `stop` has it), 'terms' ("ttl window" in ms), 'undo' (the nodes to undo, 4 bytes
-- each), 'head' (opaque; it goes first when the flow is forgotten), 'sow' (whoever is storing it), 'run' (whoever stored it last).
-- `nodes` has, by flow and place (4 bytes), how a node stands, `edges` what it is joined to; `values` the record of one that succeeded,
-- `drafts` its message and route for another run; `member` flow and place by the job's id.
-- KEYS: flows nodes edges member
-- @include sound
-- How a node stands: '' waits, 'u' sleeps until it has to undo another one, 'q' was put in line, else the letter of its end; how many
-- it waits for, how many of them it needed and has not got, how many have not succeeded; 'failure' if it is for that case alone, then
-- 'spared' if there was none; who undoes it, or -1; ms it is due or 0; ms after it may start; its name; its job's id.
local STATE, NEEDS, MISSED, LOST, CASE, UNDO, DUE, DELAY, NAME, JOB = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
-- Its edges, apart, for there may be as many as nodes: {{place, policy}, ...} of those that wait for it; whose results it gets; the
-- places of those that it waits for.
local CHILDREN, INPUTS, PARENTS = 1, 2, 3
local function field_of(flow, at) return flow .. struct.pack('>I4', at) end

local STANDS = {'string', 'number', 'number', 'number', 'string', 'number', 'number', 'number', 'string', 'string'}
local function node_at(field)
  local text = redis.call('HGET', k.nodes, field)
  return text and sound(text, STANDS)
end

local function set_node(field, node) redis.call('HSET', k.nodes, field, cmsgpack.pack(node)) end

local JOINED, CHILD = {'table', 'table', 'table'}, {'number', 'string'}
local function edges_at(field)
  local text = redis.call('HGET', k.edges, field)
  return text and sound(text, JOINED, CHILDREN, CHILD) or {{}, {}, {}}
end

-- Whether those that wait for a node that has ended have to do without it.
local function lost(node) return node[STATE] ~= 's' and node[CASE] ~= 'spared' end

local any_nodes = nil
local function is_node(id)
  if any_nodes == nil then any_nodes = redis.call('EXISTS', k.member) == 1 end
  return any_nodes and redis.call('HGET', k.member, id)
end

-- Whether a job waits for others of its flow.
local function waits_in_flow(id)
  local field = is_node(id)
  local node = field and node_at(field)
  return node and node[STATE] == ''
end

local function of_flow(flow, word) return redis.call('HGET', k.flows, flow .. word) end

-- {flow, ids of jobs that it waited for, ids of those that wait for it}, a hundred of each; {} for a job of no flow.
local function kin(id)
  local field = is_node(id)
  if not field then return {} end
  local flow, edges, parents, children = field:sub(1, 16), edges_at(field), {}, {}
  local function job_at(at) return (node_at(field_of(flow, at)) or {})[JOB] end
  for i = 1, math.min(100, #edges[PARENTS]) do parents[#parents + 1] = job_at(edges[PARENTS][i]) end
  for i = 1, math.min(100, #edges[CHILDREN]) do children[#children + 1] = job_at(edges[CHILDREN][i][1]) end
  return {flow, parents, children}
end
