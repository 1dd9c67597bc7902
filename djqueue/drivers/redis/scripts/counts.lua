-- Counts a queue. Writes nothing.
--
-- KEYS  ready delayed leased
-- Returns how many are in line, due but not in line yet, delayed, reserved; since when the one
-- that waits longest has been available, in milliseconds of the epoch (-1: none waits).

local ready, delayed, leased = unpack(KEYS)
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local due = redis.call('ZCOUNT', delayed, '-inf', now)
local oldest = -1

-- The first of each priority: the score is the rank times 2^42 plus the time.
-- Scores that no rank has are left out.
local first = redis.call('ZRANGEBYSCORE', ready, 0, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
while first[2] and tonumber(first[2]) < 1000 * 4398046511104 do
  local rank = math.floor(first[2] / 4398046511104)
  local since = first[2] - rank * 4398046511104
  oldest = oldest < 0 and since or math.min(oldest, since)
  local above = string.format('%.0f', (rank + 1) * 4398046511104)
  first = redis.call('ZRANGEBYSCORE', ready, above, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
end
if due > 0 then
  local since = math.max(0, redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2])
  oldest = oldest < 0 and since or math.min(oldest, since)
end
return {
  redis.call('ZCARD', ready), due, redis.call('ZCARD', delayed) - due,
  redis.call('ZCARD', leased), string.format('%.0f', oldest),
}
