-- The step for which a job with this place in `sched` waits there, a sleep or a wait for a signal; nil if it is there for another reason.
-- @include steps
local function awaited(id, due)
  for _, record in ipairs(steps_of(id)) do
    local step = read_step(record)
    if (step.kind == 'w' or step.kind == 'z') and step.at == due then return step end
  end
end
