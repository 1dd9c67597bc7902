-- Puts delayed jobs in line before their time.
--
-- USES  numbers stored
-- KEYS  body delayed ready state wake
-- ARGV  ids
-- Returns the ids of those that were delayed.

local body, delayed, ready, state, wake = unpack(KEYS)

-- Everything that can fail.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local states = redis.call('HMGET', state, unpack(ARGV))
redis.call('ZCARD', ready)
local calling = redis.call('LLEN', wake)
local due, members, places, seen = {}, {}, {}, {}
for i, id in ipairs(ARGV) do
  local order = order_of(states[i], body, id)
  local at = redis.call('ZSCORE', delayed, order .. id)
  if at and tonumber(at) > now and not seen[id] then
    seen[id] = true
    due[#due + 1] = id
    members[#members + 1] = order .. id
    places[#places + 1] = score_at(order, now)
    places[#places + 1] = order .. id
  end
end
if #due == 0 then
  return due
end

redis.call('ZREM', delayed, unpack(members))
redis.call('ZADD', ready, unpack(places))
if calling == 0 then
  redis.call('RPUSH', wake, '1')
end
return due
