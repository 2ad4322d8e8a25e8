#!lua flags=no-writes,allow-oom
--- graph: how a flow stands, and a page of its nodes (changes nothing)
-- ARGV: flow, place of the first node, how many (0 to 500), 1 with the records of their results
-- Answer: {letter of its end or '', head, size, open, ended as 's' 'f' 'c' 'e', then for each node {name, state ('?' where it was damaged), job, needs, edges, who
--   undoes it, whether it was for the case of a failure that there was not, record}}; {} for one that nobody knows
-- KEYS: edges nodes tomb values
-- @include schema
-- @include nodes
local flow, first, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local size = tonumber(of_flow(flow, 'size') or 0)
if not of_flow(flow, 'head') then return {} end
-- A place that is not stored yet: as one that sleeps.
local NONE = cmsgpack.pack({{}, {}, {}})
local nobody = {[NAME] = '', [STATE] = 'u', [JOB] = '', [NEEDS] = 0, [UNDO] = -1}
local damaged = {[NAME] = '', [STATE] = '?', [JOB] = '', [NEEDS] = 0, [UNDO] = -1}
local over = redis.call('HGET', k.tomb, flow)
local answer = {over and over:sub(1, 1) or '', of_flow(flow, 'head'), size}
-- What cannot be read is 0: a nil would give its place to the next one.
for _, word in ipairs({'open', 's', 'f', 'c', 'e'}) do answer[#answer + 1] = tonumber(of_flow(flow, word) or 0) or 0 end
for at = first, math.min(first + most, size) - 1 do
  local field = field_of(flow, at)
  local node = node_at(field) or redis.call('HEXISTS', k.nodes, field) == 1 and damaged or nobody
  answer[#answer + 1] = {node[NAME], node[STATE], node[JOB], node[NEEDS], redis.call('HGET', k.edges, field) or NONE, node[UNDO],
    node[CASE] == 'spared' and 1 or 0, ARGV[4] == '1' and redis.call('HGET', k.values, field) or ''}
end
return answer
