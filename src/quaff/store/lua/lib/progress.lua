-- `prog` has what running attempts say of their progress; it goes with the attempt, whose record has the last of it.
-- KEYS: prog
local function forget_progress(ids)
  if redis.call('EXISTS', k.prog) == 1 then redis.call('HDEL', k.prog, unpack(ids)) end
end
