-- Puts delayed jobs in line before their time, a slice of them.
--
-- USES  numbers stored
-- KEYS  delayed ready wake
-- ARGV  how many at most
-- Returns how many it moved.

local delayed, ready, wake = unpack(KEYS)

-- Everything that can fail.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZCARD', ready)
local calling = redis.call('LLEN', wake)
local members = redis.call('ZRANGE', delayed, 0, ARGV[1] - 1)
local places = {}
for _, member in ipairs(members) do
  places[#places + 1] = score_at(member, now)
  places[#places + 1] = member
end
if #members == 0 then
  return 0
end

redis.call('ZREM', delayed, unpack(members))
redis.call('ZADD', ready, unpack(places))
if calling == 0 then
  redis.call('RPUSH', wake, '1')
end
return #members
