-- What a later release has changed, and said so in `meta.schema`, is not touched.
-- KEYS: meta
if (tonumber(redis.call('HGET', k.meta, 'schema')) or 1) > 1 then
  return {err = 'QUAFFSCHEMA this queue was changed by a later release of Quaff'}
end
