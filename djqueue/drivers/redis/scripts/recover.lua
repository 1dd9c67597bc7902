-- Takes over reservations whose lease has expired, under a new fencing number.
--
-- USES  numbers stored
-- KEYS  fence body leased held state
-- ARGV  how many at most, the lease in milliseconds, the session, the worker's name, the bytes of
--       bodies after which no further job is taken over, milliseconds for which the lease has been
--       over, the latest time in milliseconds at which leases are judged, 0 for none: a clock that
--       was set forward makes no worker lose its lease
-- Returns the ids, bodies, states and holders (as they are now); 1 if there may be more; the time
-- in milliseconds.

local fence, body, leased, held, state = unpack(KEYS)
local lease, bytes = tonumber(ARGV[2]), tonumber(ARGV[5])

-- Everything that can fail.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local latest = tonumber(ARGV[7])
if latest > 0 and now > latest then
  return { {}, {}, {}, {}, 0, now }
end
local number = next_fence(redis.call('GET', fence), time)
local over = redis.call(
  'ZRANGEBYSCORE', leased, '-inf', string.format('(%.0f', now - ARGV[6]), 'LIMIT', 0, ARGV[1]
)
redis.call('HLEN', held)
local ids, bodies, states, holders, leases, holds, gone = {}, {}, {}, {}, {}, {}, {}
local looked_at = 0
for _, id in ipairs(over) do
  local text = redis.call('HGET', body, id)
  local known = redis.call('HGET', state, id)
  looked_at = looked_at + 1
  if text then
    local attempt, interruptions, order, score =
      parse_holder(redis.call('HGET', held, id), known, body, id, now)
    local holder = table.concat({
      number, ARGV[3], attempt, interruptions, string.format('%.0f', now), order, score, ARGV[4],
    }, ':')
    ids[#ids + 1] = id
    bodies[#bodies + 1] = text
    states[#states + 1] = known
    holders[#holders + 1] = holder
    holds[#holds + 1] = id
    holds[#holds + 1] = holder
    leases[#leases + 1] = now + lease
    leases[#leases + 1] = id
    bytes = bytes - #text
    if bytes <= 0 then
      break
    end
  else
    gone[#gone + 1] = id
  end
end
if looked_at == 0 then
  return { {}, {}, {}, {}, 0, now }
end

-- Removes nothing, as a rule. A full memory refuses the others as a script's first write only.
redis.call('ZREM', leased, '', unpack(gone))
redis.call('HDEL', held, '', unpack(gone))
redis.call('SET', fence, number)
if #ids > 0 then
  redis.call('HSET', held, unpack(holds))
  redis.call('ZADD', leased, unpack(leases))
end
return { ids, bodies, states, holders, looked_at < #over and 1 or 0, now }
