#!lua flags=no-writes,allow-oom
--- jobs: a page of the jobs in some places of a queue, one place after the other (changes nothing)
-- ARGV: most in one page (500 at most), from where to go on in the first place ('' at first; what a page before said), place, place, ...
-- Answer: {now in ms, place in which to go on or '' at the end of them all, from where there, then for each: place, from where to go on behind
--   it, id, what the place says of it, message, outcome, counts}; a message or outcome that is large, or not there, is ''
--   places: ready and solo in line, by what is handed out next; prio, parked, sched by their score; backlog by lane; held by
--   process; dead, recent and called_off, the newest first
-- KEYS: ready solo ghosts prio parked sched backlog held dead recent called_off msg res tries active
-- @include schema
-- @include clock
local most = tonumber(ARGV[1])
local LARGEST = 16384
local found, at_place, at_position = {}, '', ''

local function add(place, on, id, detail)
  found[#found + 1] = {place, on, id, detail}
  at_place, at_position = place, on
end

-- Who is at the head leaves while the pages are read, and all others move up: a page goes on behind the last one of the page before,
-- wherever that is by now. Where it is not found, it has gone with all that were before it (or more than MOVED have): from the head.
local MOVED = 1000
local function in_line(place, key, mark, from, room)
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
  for at = first, first + room - 1 do
    local id = redis.call('LINDEX', key, -1 - at)
    if not id then return true end
    at_place, at_position = place, ms(at + 1) .. ' ' .. id
    if redis.call('HEXISTS', k.ghosts, mark .. id) == 0 then add(place, at_position, id, '') end
  end
end

local function newest(place, key, from, room)
  local first = tonumber(from) or 0
  for at = first, first + room - 1 do
    local entry = redis.call('LINDEX', key, at)
    if not entry then return true end
    add(place, ms(at + 1), entry:sub(1, 16), entry:sub(17))
  end
end

-- How many of those with the score at which a page goes on come before it. As many as were seen, if `last` still is the last of
-- them; else some have come or gone meanwhile, and these are in the order of their ids.
local function seen(last, count, equal, falls)
  local function behind(id)
    for i = 1, #last do
      local one, other = id:byte(i), last:byte(i)
      if one ~= other then return (one > other) ~= falls end
    end
    return false
  end
  if equal(count - 1) == last then return count end
  local low, high = math.max(0, count - MOVED), count + MOVED
  for _ = 1, 11 do
    local middle = math.floor((low + high) / 2)
    local id = low < high and equal(middle)
    if id and not behind(id) then low = middle + 1 else high = middle end
  end
  return low
end

local function by_score(ask, lowest, highest, falls, place, key, from, room)
  local score, count, last = from:match('^(%S+) (%d+) (.*)$')
  local function equal(n) return ask(key, score, score, n, 1)[1] end
  count = score and seen(last, tonumber(count), equal, falls) or 0
  local page = ask(key, score or lowest, highest, count, room)
  for i = 1, #page, 2 do
    count = page[i + 1] == score and count + 1 or 1
    score = page[i + 1]
    add(place, score .. ' ' .. count .. ' ' .. page[i], page[i], score)
  end
  return #page < 2 * room
end

local function up(key, first, last, skip, most)
  return redis.call('ZRANGEBYSCORE', key, first, last, 'WITHSCORES', 'LIMIT', skip, most)
end

local function down(key, first, last, skip, most)
  return redis.call('ZREVRANGEBYSCORE', key, first, last, 'WITHSCORES', 'LIMIT', skip, most)
end

local function rising(...) return by_score(up, '-inf', '+inf', false, ...) end
local function falling(...) return by_score(down, '+inf', '-inf', true, ...) end

local function by_name(place, key, before, from, room)
  local page = redis.call('ZRANGEBYLEX', key, from == '' and '-' or '(' .. from, '+', 'LIMIT', 0, room)
  for _, member in ipairs(page) do add(place, member, member:sub(before + 1), member:sub(1, before)) end
  return #page < room
end

-- Each says whether it has come to the end of its place.
local READ = {
  ready = function(...) return in_line('ready', k.ready, '', ...) end,
  solo = function(...) return in_line('solo', k.solo, '!', ...) end,
  prio = function(...) return rising('prio', k.prio, ...) end,
  parked = function(...) return rising('parked', k.parked, ...) end,
  sched = function(...) return rising('sched', k.sched, ...) end,
  backlog = function(...) return by_name('backlog', k.backlog, 24, ...) end,
  held = function(...) return by_name('held', k.held, 8, ...) end,
  dead = function(...) return falling('dead', k.dead, ...) end,
  recent = function(...) return newest('recent', k.recent, ...) end,
  called_off = function(...) return newest('called_off', k.called_off, ...) end,
}
local going = true
for i = 3, #ARGV do
  -- A place that was not begun, for there was no room left, is begun by the next page, behind the end of the one before.
  going = going and #found < most and READ[ARGV[i]](i == 3 and ARGV[2] or '', most - #found)
end
if going then at_place, at_position = '', '' end
local function small(key, id)
  local size = redis.call('HSTRLEN', key, id)
  return size > 0 and size <= LARGEST and redis.call('HGET', key, id) or ''
end
local answer = {ms(clock()), at_place, at_position}
for _, each in ipairs(found) do
  local place, on, id, detail = unpack(each)
  answer[#answer + 1] = place
  answer[#answer + 1] = on
  answer[#answer + 1] = id
  answer[#answer + 1] = place == 'held' and (redis.call('HGET', k.active, id) or '') or detail
  answer[#answer + 1] = small(k.msg, id)
  answer[#answer + 1] = small(k.res, id)
  answer[#answer + 1] = redis.call('HGET', k.tries, id) or ''
end
return answer
