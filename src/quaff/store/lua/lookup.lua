#!lua flags=no-writes,allow-oom
--- lookup: where one job is (changes nothing)
-- ARGV: id, 1 for everything that is known of it
-- Answer: {state, token or tombstone, record, message, history, progress of the running attempt, lines, steps, kin}; message, history, lines
--   (as `page` gives them), steps and kin (as `kin` does) only if asked for; state is
--   'running' 'queued' 'parked' 'blocked', 'scheduled' or 'retrying' (detail: ms of the time it is due), 'away' (detail: its id where it runs, and that partition),
--   'flow' (a flow that has not ended), 'ended', or '' for an id that nobody knows
-- KEYS: msg history prog res steps
-- @include schema
-- @include where
-- @include nodes
-- @include tail
local id, all = ARGV[1], ARGV[2] == '1'
local state, detail, kept = where_is(id)
return {
  state,
  detail,
  kept and redis.call('HGET', k.res, id) or '',
  all and redis.call('HGET', k.msg, id) or '',
  all and redis.call('HGET', k.history, id) or '',
  state == 'running' and redis.call('HGET', k.prog, id) or '',
  all and (kept or state ~= 'ended') and page('l', id, 0) or {},
  all and redis.call('HGET', k.steps, id) or '',
  all and kin(id) or {},
}
