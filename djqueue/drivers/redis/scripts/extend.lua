-- The sign of life: gives reserved jobs a new deadline.
--
-- KEYS  leased held
-- ARGV  the lease in milliseconds, then for each job: its id and its token
-- Returns the ids that were lost.

local leased, held = unpack(KEYS)

-- Everything that can fail.
local ids = {}
for i = 2, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
end
local holders = redis.call('HMGET', held, unpack(ids))
redis.call('ZCARD', leased)
local time = redis.call('TIME')
local deadline = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
local lost, leases = {}, {}
for i, id in ipairs(ids) do
  local token = ARGV[1 + 2 * i]
  -- The fence: a later reservation of the job has another number here.
  if holders[i] and string.sub(holders[i], 1, #token) == token then
    leases[#leases + 1] = deadline
    leases[#leases + 1] = id
  else
    lost[#lost + 1] = id
  end
end
if #leases == 0 then
  return lost
end

-- Removes nothing. A full memory refuses ZADD only as a script's first write, and no worker may
-- lose its jobs because of that.
redis.call('ZREM', leased, '')
redis.call('ZADD', leased, unpack(leases))
return lost
