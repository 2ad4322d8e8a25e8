-- `tries` holds "attempts crashes lapses failures token" of ids that have run and not ended. The token is that of the
-- settle that sent it back, so that the same settle, sent again, finds its answer.
-- What is missing or damaged counts as none: one bad entry must not stop the whole line.
local function read_tries(text)
  local attempts, crashes, lapses, failures, token = (text or ''):match('^(%d+) (%d+) (%d+) ?(%d*) ?(.*)$')
  return {attempts = tonumber(attempts) or 0, crashes = tonumber(crashes) or 0, lapses = tonumber(lapses) or 0,
    failures = tonumber(failures) or 0, token = token or ''}
end

local function tries_text(t)
  return t.attempts .. ' ' .. t.crashes .. ' ' .. t.lapses .. ' ' .. t.failures .. ' ' .. t.token
end

-- A job that crashed or lapsed is handed out alone until it ends.
local function runs_alone(t) return t.crashes + t.lapses > 0 end
