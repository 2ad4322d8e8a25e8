-- The newest of what the attempts of a job say: lines in `logs`, what a generator gives in `chunks`; in pieces, the oldest of which
-- make room. By the job's id {position from which it counts, next position, token of the attempt, how many it has said, label, number
-- of the newest piece, bytes, {{number, position, how many, bytes}, ...}}, by id and number a piece, which is opaque.
-- KEYS: logs chunks
-- @include sound
local PIECES, PAGE = 16, 131072
local TAIL, PIECE = {'number', 'number', 'string', 'number', 'string', 'number', 'number', 'table'}, {'number', 'number', 'number', 'number'}
local TAILS = {l = {key = k.logs, most = 64, bytes = 4096}, v = {key = k.chunks, most = 1000, bytes = 65536, anew = true}}

local function tail_of(key, id)
  local text = redis.call('HGET', key, id)
  return text and sound(text, TAIL, 8, PIECE)
end

local function drop_oldest(key, id, tail)
  local piece = table.remove(tail[8], 1)
  redis.call('HDEL', key, id .. piece[1])
  tail[7] = tail[7] - piece[4]
end

-- `before` is how many this attempt had said: the same call again changes nothing. Values of the attempt before are worth nothing,
-- its lines are. A call with nothing in it begins, and its bytes are the label.
local function append(what, id, token, before, count, bytes)
  local kind = TAILS[what]
  local key = kind.key
  local tail = tail_of(key, id) or {0, 0, '', 0, '', 0, 0, {}}
  local pieces = tail[8]
  if tail[3] ~= token then
    tail[3], tail[4] = token, 0
    if kind.anew then
      for _ = 1, #pieces do drop_oldest(key, id, tail) end
      -- One position is left out, so that whoever has all values of the attempt before sees that they are worth nothing.
      if tail[2] > tail[1] then tail[2] = tail[2] + 1 end
      tail[1] = tail[2]
    end
  elseif count == 0 or before < tail[4] then
    return
  end
  if count == 0 then
    tail[5] = bytes
  else
    -- What was lost on the way here leaves a gap.
    tail[2] = tail[2] + before - tail[4]
    local last = pieces[#pieces]
    if last and last[2] + last[3] == tail[2] and last[3] + count <= kind.most and last[4] + #bytes <= kind.bytes then
      redis.call('HSET', key, id .. last[1], (redis.call('HGET', key, id .. last[1]) or '') .. bytes)
      last[3], last[4] = last[3] + count, last[4] + #bytes
    else
      tail[6] = tail[6] + 1
      redis.call('HSET', key, id .. tail[6], bytes)
      pieces[#pieces + 1] = {tail[6], tail[2], count, #bytes}
    end
    tail[2], tail[4], tail[7] = tail[2] + count, before + count, tail[7] + #bytes
    for _ = 1, #pieces - 1 do
      if #pieces <= PIECES and tail[7] <= PIECES * kind.bytes then break end
      drop_oldest(key, id, tail)
    end
  end
  redis.call('HSET', key, id, cmsgpack.pack(tail))
end

-- {position from which it counts, next position, label, {position, piece, position, piece, ...}} with pieces from the one that has
-- `from` on, some of them if they are many; {} where nothing was said.
local function page(what, id, from)
  local key = TAILS[what].key
  local tail = tail_of(key, id)
  if not tail then return {} end
  local found, size = {}, 0
  for _, piece in ipairs(tail[8]) do
    if piece[2] + piece[3] > from then
      if size > 0 and size + piece[4] > PAGE then break end
      found[#found + 1] = piece[2]
      found[#found + 1] = redis.call('HGET', key, id .. piece[1]) or ''
      size = size + piece[4]
    end
  end
  return {tail[1], tail[2], tail[5], found}
end

local function tail_bytes(id)
  if redis.call('EXISTS', k.logs, k.chunks) == 0 then return 0 end
  local lines, values = tail_of(k.logs, id), tail_of(k.chunks, id)
  return (lines and lines[7] or 0) + (values and values[7] or 0)
end

local function forget_tails(ids)
  if redis.call('EXISTS', k.logs, k.chunks) == 0 then return end
  for _, key in ipairs({k.logs, k.chunks}) do
    for _, id in ipairs(ids) do
      local tail = tail_of(key, id)
      -- nil: it was damaged.
      if tail ~= false then
        local fields = {id}
        for i, piece in ipairs(tail and tail[8] or {}) do fields[i + 1] = id .. piece[1] end
        redis.call('HDEL', key, unpack(fields))
      end
    end
  end
end
