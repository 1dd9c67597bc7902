-- Puts stuck jobs back in line, with one interruption more.
--
-- USES  numbers stored
-- KEYS  body ready leased held state wake
-- ARGV  for each job its id, and the beginning of its holder or ''
-- Returns the ids of those that were stuck.

local body, ready, leased, held, state, wake = unpack(KEYS)

-- Everything that can fail.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids, tokens = {}, {}
for i = 1, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
  tokens[#tokens + 1] = ARGV[i + 1]
end
local holders = redis.call('HMGET', held, unpack(ids))
local states = redis.call('HMGET', state, unpack(ids))
redis.call('ZCARD', ready)
local calling = redis.call('LLEN', wake)
local back, places, stored, seen = {}, {}, {}, {}
for i, id in ipairs(ids) do
  local deadline = redis.call('ZSCORE', leased, id)
  local there = redis.call('HEXISTS', body, id) == 1
  local same = string.sub(holders[i] or '', 1, #tokens[i]) == tokens[i]
  if there and same and not seen[id] and deadline and tonumber(deadline) < now then
    seen[id] = true
    local attempts, interruptions, order, score =
      parse_holder(holders[i], states[i], body, id, now)
    local _, _, history = parse_state(states[i])
    back[#back + 1] = id
    places[#places + 1] = score
    places[#places + 1] = order .. id
    stored[#stored + 1] = id
    stored[#stored + 1] = table.concat({ attempts - 1, interruptions + 1, order, history }, ':')
  end
end
if #back == 0 then
  return back
end

redis.call('ZREM', leased, unpack(back))
redis.call('HDEL', held, unpack(back))
redis.call('HSET', state, unpack(stored))
redis.call('ZADD', ready, unpack(places))
if calling == 0 then
  redis.call('RPUSH', wake, '1')
end
return back
