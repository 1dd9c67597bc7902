-- Holds a slot of a funnel.
--
-- KEYS  holders: a sorted set by the time at which each has left for certain
--       entered: a hash of the same, to when each came
--       lasted: for how long a slot was held, as a moving mean
-- ARGV  limit, the holder ("<job>/<run>/<token>"), its life, its job (empty where none holds it),
--       and the beginning of all tokens of this run
-- Returns -1 if it is held now, else for how long one is held on average.

local holders, entered, lasted = unpack(KEYS)
local limit, life, job, prefix = tonumber(ARGV[1]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function leave(holder)
  redis.call('ZREM', holders, holder)
  redis.call('HDEL', entered, holder)
end

for _, holder in ipairs(redis.call('ZRANGEBYSCORE', holders, '-inf', string.format('%.0f', now))) do
  leave(holder)
end
local inside = redis.call('ZRANGE', holders, 0, -1)
if job ~= '' then
  -- What another run of the same job holds is free: its process is gone.
  for _, holder in ipairs(inside) do
    local its, _, token = string.match(holder, '^([^/]*)/([^/]*)/(.*)$')
    if its == job and string.sub(token, 1, #prefix) ~= prefix then
      leave(holder)
    end
  end
end

if redis.call('ZCARD', holders) < limit then
  redis.call('ZADD', holders, string.format('%.0f', now + life), ARGV[2])
  redis.call('HSET', entered, ARGV[2], string.format('%.0f', now))
  local until_all_left = redis.call('ZRANGE', holders, -1, -1, 'WITHSCORES')[2] - now
  for _, key in ipairs({holders, entered, lasted}) do
    redis.call('PEXPIRE', key, string.format('%.0f', until_all_left / 1000 + 1000))
  end
  return -1
end

local mean = tonumber(redis.call('GET', lasted) or 0)
local total, count = 0, 0
for _, came in ipairs(redis.call('HVALS', entered)) do
  total, count = total + now - came, count + 1
end
return string.format('%.0f', math.max(mean, count > 0 and total / count or 0))
