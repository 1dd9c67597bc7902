-- Uses a throttle once, or looks at it.
--
-- KEYS  uses: a sorted set of tokens by the time of their use
-- ARGV  allow, the period, a new token, and 1 to use it
-- Returns -1 if it may be used, else the time until then.

local uses = KEYS[1]
local allow, every = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

redis.call('ZREMRANGEBYSCORE', uses, '-inf', string.format('%.0f', now - every))
if redis.call('ZCARD', uses) < allow then
  if ARGV[4] == '1' then
    redis.call('ZADD', uses, string.format('%.0f', now), ARGV[3])
    redis.call('PEXPIRE', uses, string.format('%.0f', every / 1000 + 1000))
  end
  return -1
end
local first = redis.call('ZRANGE', uses, 0, 0, 'WITHSCORES')
return string.format('%.0f', first[2] + every - now)
