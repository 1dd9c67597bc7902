-- Deletes jobs.
--
-- USES  numbers stored
-- KEYS  body ready delayed leased held state
-- ARGV  the bytes of bodies after which it stops; which are deleted: idle (waiting, delayed and
--       stuck ones), held (reserved and stuck ones) or any; for each job its id, and the beginning
--       of its holder or ''
-- Returns the ids of those it has deleted, and how many it has looked at.

local body, ready, delayed, leased, held, state = unpack(KEYS)

-- Everything that can fail.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZCARD', ready)
redis.call('ZCARD', delayed)
redis.call('HLEN', held)
local bytes, which = tonumber(ARGV[1]), ARGV[2]
local gone, members, seen, looked_at = {}, {}, {}, 0
for i = 3, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  local length = redis.call('HSTRLEN', body, id)
  local there = length > 0 or redis.call('HEXISTS', body, id) == 1
  local known = redis.call('HGET', state, id)
  local deadline = redis.call('ZSCORE', leased, id)
  local meant = which == 'any' or (which == 'held' and deadline)
    or (which == 'idle' and (not deadline or tonumber(deadline) < now))
  if token ~= '' then
    meant = meant and string.sub(redis.call('HGET', held, id) or '', 1, #token) == token
  end
  looked_at = looked_at + 1
  if there and meant and not seen[id] then
    seen[id] = true
    gone[#gone + 1] = id
    members[#members + 1] = order_of(known, body, id) .. id
    bytes = bytes - length
    if bytes <= 0 then
      break
    end
  end
end
if #gone == 0 then
  return { gone, looked_at }
end

redis.call('HDEL', body, unpack(gone))
redis.call('HDEL', held, unpack(gone))
redis.call('HDEL', state, unpack(gone))
redis.call('ZREM', leased, unpack(gone))
redis.call('ZREM', ready, unpack(members))
redis.call('ZREM', delayed, unpack(members))
return { gone, looked_at }
