-- Deletes jobs that wait, are delayed or stuck.
--
-- KEYS  body ready delayed leased held state
-- ARGV  1 if running ones are deleted too, then ids
-- Returns how many.

local body, ready, delayed, leased, held, state = unpack(KEYS)

-- Everything that can fail.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZCARD', ready)
redis.call('ZCARD', delayed)
redis.call('HLEN', held)
local gone, members, seen = {}, {}, {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local text = redis.call('HGET', body, id)
  local known = redis.call('HGET', state, id)
  local deadline = redis.call('ZSCORE', leased, id)
  local free = not deadline or tonumber(deadline) < now or ARGV[1] == '1'
  if text and free and not seen[id] then
    seen[id] = true
    local order = known and string.match(known, '^%d+:%d+:(%x+):') or string.sub(text, 1, 15)
    gone[#gone + 1] = id
    members[#members + 1] = order .. id
  end
end
if #gone == 0 then
  return 0
end

redis.call('HDEL', body, unpack(gone))
redis.call('HDEL', held, unpack(gone))
redis.call('HDEL', state, unpack(gone))
redis.call('ZREM', leased, unpack(gone))
redis.call('ZREM', ready, unpack(members))
redis.call('ZREM', delayed, unpack(members))
return #gone
