#!lua flags=allow-oom
--- acquire: room in a limit for somebody who is no job
-- ARGV: limit, its declaration's numbers, cost, token (random), ms after which what is held of a concurrency limit is free again
-- Answer: 0 taken; else ms until there may be room, -1 where nobody knows
-- Guarantees: the same token takes once. What its holder does not give back is given back by the sweep.
-- KEYS: guests
-- @include schema
-- @include clock
-- @include limits
local limit, numbers, cost, token, lasts, now = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), clock()
local guest = limit .. string.format('%08d', cost) .. token
if redis.call('ZSCORE', k.guests, guest) then return 0 end
brought[limit] = numbers
local wait = wait_for(limit, cost, now)
if wait ~= 0 then return wait end
take(limit, cost, now)
redis.call('ZADD', k.guests, ms(now + lasts), guest)
return 0
