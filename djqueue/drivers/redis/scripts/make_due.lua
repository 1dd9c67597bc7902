-- Puts delayed jobs in line before their time: a slice of those that are due next, or certain ones.
--
-- USES  numbers stored
-- KEYS  body delayed ready state wake
-- ARGV  how many at most, and no more; or 0 and ids
-- Returns the ids of those that it moved. An id whose job is due by now is not among them.

local body, delayed, ready, state, wake = unpack(KEYS)

-- Everything that can fail.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZCARD', ready)
local calling = redis.call('LLEN', wake)
local members = {}
if #ARGV == 1 then
  members = redis.call('ZRANGE', delayed, 0, ARGV[1] - 1)
else
  local ids, seen = { unpack(ARGV, 2) }, {}
  local states = redis.call('HMGET', state, unpack(ids))
  for i, id in ipairs(ids) do
    local member = order_of(states[i], body, id) .. id
    local at = redis.call('ZSCORE', delayed, member)
    if at and tonumber(at) > now and not seen[id] then
      seen[id] = true
      members[#members + 1] = member
    end
  end
end
local moved, places = {}, {}
for i, member in ipairs(members) do
  moved[i] = string.sub(member, 16)
  places[#places + 1] = score_at(member, now)
  places[#places + 1] = member
end
if #moved == 0 then
  return moved
end

redis.call('ZREM', delayed, unpack(members))
redis.call('ZADD', ready, unpack(places))
if calling == 0 then
  redis.call('RPUSH', wake, '1')
end
return moved
