-- What a call has done, where the end of a plain job is 1, some eight microseconds, and the most that it does: nobody waits longer than
-- that for the server. Whoever called is told where it left off.
-- KEYS: heirs
local effort, MOST_EFFORT = 0, 200

-- What it takes to end a job or to put it back.
local heirs_wait = nil
local function effort_for(route)
  if not route then return 1 end
  if heirs_wait == nil then heirs_wait = redis.call('EXISTS', k.heirs) == 1 end
  return 1 + 1.5 * #route[6] + (heirs_wait and route[2] ~= '' and 8 or 0)
end
