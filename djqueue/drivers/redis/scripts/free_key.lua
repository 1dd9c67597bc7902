-- Lets other jobs have the unique key of a job that has it.
--
-- KEYS  unique
-- ARGV  the key, the id of the job
-- Returns 1, or 0 where the job does not have the key.

local unique = unpack(KEYS)
local holder = redis.call('HGET', unique, ARGV[1])
if not holder or string.sub(holder, 1, 36) ~= ARGV[2] then
  return 0
end
return redis.call('HDEL', unique, ARGV[1])
