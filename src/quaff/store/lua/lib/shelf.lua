-- A page of what is kept for people, the last to go first: name, ms it goes, entry, name, ...; `among` is text that an entry has in it,
-- or ''. Of what has gone and was not swept yet nothing.
-- KEYS: tasks tasks_until failures failures_until workers workers_until
-- @include clock
local function shelf(what, skip, most, among, now)
  local key, line = unpack(({tasks = {k.tasks, k.tasks_until}, failures = {k.failures, k.failures_until}, workers = {k.workers, k.workers_until}})[what])
  local answer = {}
  local page = redis.call('ZREVRANGEBYSCORE', line, '+inf', '(' .. ms(now), 'WITHSCORES', 'LIMIT', skip, most)
  for i = 1, #page, 2 do
    local entry = redis.call('HGET', key, page[i]) or ''
    if among == '' or entry:find(among, 1, true) then
      answer[#answer + 1] = page[i]
      answer[#answer + 1] = page[i + 1]
      answer[#answer + 1] = entry
    end
  end
  return answer, #page / 2
end
