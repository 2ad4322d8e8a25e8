-- What people have changed by hand, the newest first, as {ms, who, what, about what}; as many as anybody will read.
-- KEYS: audit
local AUDIT_MOST = 1000
local function audit(now, who, what, about)
  redis.call('LPUSH', k.audit, cmsgpack.pack({now, who, what, about}))
  redis.call('LTRIM', k.audit, 0, AUDIT_MOST - 1)
end
