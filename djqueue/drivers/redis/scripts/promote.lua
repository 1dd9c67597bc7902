-- Puts delayed jobs that are due in line, a slice of them.
--
-- USES  numbers stored
-- KEYS  delayed ready wake
-- ARGV  how many at most
-- Returns how many it moved, and the milliseconds until the next one is due (-1: there is none).

local delayed, ready, wake = unpack(KEYS)

-- Everything that can fail.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZCARD', ready)
local calling = redis.call('LLEN', wake)
local due = redis.call(
  'ZRANGEBYSCORE', delayed, '-inf', string.format('%.0f', now), 'WITHSCORES', 'LIMIT', 0, ARGV[1]
)
local members, places = {}, {}
for i = 1, #due, 2 do
  members[#members + 1] = due[i]
  places[#places + 1] = score_at(due[i], math.max(0, due[i + 1]))
  places[#places + 1] = due[i]
end

-- The first write is one that a full memory allows.
if #members > 0 then
  redis.call('ZREM', delayed, unpack(members))
  redis.call('ZADD', ready, unpack(places))
  if calling == 0 then
    redis.call('RPUSH', wake, '1')
  end
end
local next_one = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
return { #members, next_one[2] and math.min(math.max(0, next_one[2] - now), 86400000) or -1 }
