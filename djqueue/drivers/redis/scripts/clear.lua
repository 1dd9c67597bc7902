-- Deletes what waits or is delayed, a slice of it; never what runs.
--
-- KEYS  body ready delayed state
-- ARGV  how many at most of each
-- Returns how many.

local body, ready, delayed, state = unpack(KEYS)

-- Everything that can fail.
redis.call('HLEN', body)
redis.call('HLEN', state)
local last = tonumber(ARGV[1]) - 1
local waiting = redis.call('ZRANGE', ready, 0, last)
local later = redis.call('ZRANGE', delayed, 0, last)
local ids = {}
for _, members in ipairs({ waiting, later }) do
  for _, member in ipairs(members) do
    ids[#ids + 1] = string.sub(member, 16)
  end
end
if #ids == 0 then
  return 0
end

redis.call('HDEL', body, unpack(ids))
redis.call('HDEL', state, unpack(ids))
if #waiting > 0 then
  redis.call('ZREMRANGEBYRANK', ready, 0, #waiting - 1)
end
if #later > 0 then
  redis.call('ZREMRANGEBYRANK', delayed, 0, #later - 1)
end
return #ids
