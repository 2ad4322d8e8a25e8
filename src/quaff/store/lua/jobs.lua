#!lua flags=no-writes,allow-oom
--- jobs: a page of the jobs in one place (changes nothing)
-- ARGV: the place, from where to go on ('' at first; what the answer said), most in one page (500 at most)
-- Answer: {now in ms, from where to go on or '' at the end, then for each: id, what the place says of it, message, outcome, counts}; a
--   message or outcome that is large, or not there, is ''
--   places: ready and solo in line, by what is handed out next; prio, parked, sched by their score; backlog by lane; held by
--   process; dead, recent and called_off, the newest first
-- KEYS: ready solo ghosts prio parked sched backlog held dead recent called_off msg res tries active
-- @include schema
-- @include clock
local place, from, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local LARGEST = 16384
local found, on = {}, ''

-- Who is at the head leaves while the pages are read, and all others move up: a page goes on behind the last one of the page before,
-- wherever that is by now. Where it is not found, it has gone with all that were before it (or more than MOVED have): from the head.
local MOVED = 1000
local function in_line(key, mark)
  local first, last = from:match('^(%d+) (.*)$')
  first = tonumber(first or 0)
  if last and redis.call('LINDEX', key, -first) ~= last then
    local found_at = 0
    for at = first - 1, math.max(1, first - MOVED), -1 do
      if redis.call('LINDEX', key, -at) == last then
        found_at = at
        break
      end
    end
    first = found_at
  end
  for at = first, first + most - 1 do
    local id = redis.call('LINDEX', key, -1 - at)
    if not id then return '' end
    last = id
    if redis.call('HEXISTS', k.ghosts, mark .. id) == 0 then found[#found + 1] = {id, ''} end
  end
  return ms(first + most) .. ' ' .. last
end

local function newest(key)
  local first = tonumber(from) or 0
  for at = first, first + most - 1 do
    local entry = redis.call('LINDEX', key, at)
    if not entry then return '' end
    found[#found + 1] = {entry:sub(1, 16), entry:sub(17)}
  end
  return ms(first + most)
end

-- Equal scores are told apart by how many of them were seen.
local function by_score(page, score, skip)
  for i = 1, #page, 2 do
    found[#found + 1] = {page[i], page[i + 1]}
    skip = page[i + 1] == score and skip + 1 or 1
    score = page[i + 1]
  end
  return #page >= 2 * most and score .. ' ' .. skip or ''
end

local function rising(key)
  local score, skip = from:match('^(%S+) (%d+)$')
  return by_score(redis.call('ZRANGEBYSCORE', key, score or '-inf', '+inf', 'WITHSCORES', 'LIMIT', skip or 0, most), score, tonumber(skip or 0))
end

local function falling(key)
  local score, skip = from:match('^(%S+) (%d+)$')
  return by_score(redis.call('ZREVRANGEBYSCORE', key, score or '+inf', '-inf', 'WITHSCORES', 'LIMIT', skip or 0, most), score, tonumber(skip or 0))
end

local function by_name(key, before)
  local page = redis.call('ZRANGEBYLEX', key, from == '' and '-' or '(' .. from, '+', 'LIMIT', 0, most)
  for i, member in ipairs(page) do found[i] = {member:sub(before + 1), member:sub(1, before)} end
  return #page >= most and page[#page] or ''
end

local READ = {
  ready = function() return in_line(k.ready, '') end,
  solo = function() return in_line(k.solo, '!') end,
  prio = function() return rising(k.prio) end,
  parked = function() return rising(k.parked) end,
  sched = function() return rising(k.sched) end,
  backlog = function() return by_name(k.backlog, 24) end,
  held = function() return by_name(k.held, 8) end,
  dead = function() return falling(k.dead) end,
  recent = function() return newest(k.recent) end,
  called_off = function() return newest(k.called_off) end,
}
on = READ[place]()
local function small(key, id)
  local size = redis.call('HSTRLEN', key, id)
  return size > 0 and size <= LARGEST and redis.call('HGET', key, id) or ''
end
local answer = {ms(clock()), on}
for _, each in ipairs(found) do
  local id = each[1]
  answer[#answer + 1] = id
  answer[#answer + 1] = place == 'held' and (redis.call('HGET', k.active, id) or '') or each[2]
  answer[#answer + 1] = small(k.msg, id)
  answer[#answer + 1] = small(k.res, id)
  answer[#answer + 1] = redis.call('HGET', k.tries, id) or ''
end
return answer
