-- A job that was asked to stop does not come back: where it would have, it ends as cancelled. True if it did.
-- `stop` has "ttl window outcome" of running jobs that were asked.
-- KEYS: stop
-- @include end
local function stopped(id, token, now)
  local asked = redis.call('HGET', k.stop, id)
  if not asked then return false end
  local ttl, window, outcome = asked:match('^(%d+) (%d+) (.*)$')
  -- Of a damaged one it is known that it was asked for, and nothing more.
  finish(id, 'c', token, outcome or '', tonumber(ttl) or 0, now, tonumber(window) or 0)
  return true
end
