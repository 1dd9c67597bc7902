-- Takes over reservations whose lease is over, under a new fencing number.
--
-- KEYS  number body leased held state
-- ARGV  how many at most, the lease in milliseconds, the worker
-- Returns the fencing number; the ids, bodies, states and holders (as they are now).

local number, body, leased, held, state = unpack(KEYS)
local lease, worker = tonumber(ARGV[2]), ARGV[3]

-- Everything that can fail.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local fence = tonumber(redis.call('GET', number) or 0) + 1
local over = redis.call(
  'ZRANGEBYSCORE', leased, '-inf', string.format('(%.0f', now), 'LIMIT', 0, ARGV[1]
)
if #over == 0 then
  return { fence, {}, {}, {}, {} }
end
local bodies = redis.call('HMGET', body, unpack(over))
local states = redis.call('HMGET', state, unpack(over))
local holders = redis.call('HMGET', held, unpack(over))
local holds, leases, broken = {}, {}, {}
for i, id in ipairs(over) do
  if bodies[i] and holders[i] then
    local rest = string.match(holders[i], '^%d+(:%d+:%d+:%d+:%x+:[^:]+:)')
    holders[i] = string.format('%.0f', fence) .. rest .. worker
    holds[#holds + 1] = id
    holds[#holds + 1] = holders[i]
    leases[#leases + 1] = now + lease
    leases[#leases + 1] = id
  else
    broken[#broken + 1] = id
  end
end

-- Removes nothing, as a rule. A full memory refuses the others as a script's first write only.
redis.call('ZREM', leased, '', unpack(broken))
redis.call('SET', number, string.format('%.0f', fence))
if #holds > 0 then
  redis.call('HSET', held, unpack(holds))
  redis.call('ZADD', leased, unpack(leases))
end
return { fence, over, bodies, states, holders }
