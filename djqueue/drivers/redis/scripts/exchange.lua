-- Removes ended jobs and reserves the next jobs, in one step: the hot path of a worker.
--
-- USES  numbers
-- KEYS  fence body ready leased held state wake
-- ARGV  how many to reserve, the lease in milliseconds, the session, the worker's name, the bytes
--       of bodies after which no further job is reserved,
--       then for each ended job: its id and its token
-- Returns the fencing number of what was reserved; its members, bodies and states (none at all if
-- no job has come back yet); the ids that were lost; 1 if there was no room for more bytes.

local fence, body, ready, leased, held, state, wake = unpack(KEYS)
local limit, lease, bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[5])

-- Everything that can fail: reads that find a key of another type, arguments that are no numbers.
local gone, lost = {}, {}
if #ARGV > 5 then
  local ids = {}
  for i = 6, #ARGV, 2 do
    ids[#ids + 1] = ARGV[i]
  end
  local holders = redis.call('HMGET', held, unpack(ids))
  for i, id in ipairs(ids) do
    local token = ARGV[5 + 2 * i]
    -- The fence: a later reservation of the job has another number here.
    if holders[i] and string.sub(holders[i], 1, #token) == token then
      gone[#gone + 1] = id
    else
      lost[#lost + 1] = id
    end
  end
else
  redis.call('HLEN', held)
end
redis.call('ZCARD', leased)
redis.call('HLEN', body)
local some_came_back = redis.call('HLEN', state) > 0
local calling = redis.call('LLEN', wake)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local number = next_fence(redis.call('GET', fence), time)
local picked = {}
if limit > 0 then
  picked = redis.call('ZRANGE', ready, 0, limit - 1, 'WITHSCORES')
end
local members, ids, bodies, states = {}, {}, {}, {}
-- Two bodies, then four, and so on: what is too much must not be read only to be left.
local first, count = 1, 2
while bytes > 0 and first < #picked do
  local some = {}
  for i = first, math.min(first + 2 * count, #picked) - 1, 2 do
    some[#some + 1] = string.sub(picked[i], 16)
  end
  local texts = redis.call('HMGET', body, unpack(some))
  for i, id in ipairs(some) do
    if bytes > 0 then
      members[#members + 1] = picked[first + 2 * i - 2]
      ids[#ids + 1] = id
      bodies[#bodies + 1] = texts[i]
      bytes = bytes - (texts[i] and #texts[i] or 0)
    end
  end
  first, count = first + 2 * count, 2 * count
end
local is_cut = 2 * #ids < #picked
if #ids > 0 and some_came_back then
  states = redis.call('HMGET', state, unpack(ids))
end
-- As texts once, not again for each job.
local deadline = string.format('%.0f', now + lease)
local since = string.format(':%.0f:', now)
local token = number .. ':' .. ARGV[3] .. ':'
local first_time = token .. '1:0' .. since
local worker = ':' .. ARGV[4]
local holds, leases = {}, {}
for i, id in ipairs(ids) do
  if bodies[i] then
    local holder = first_time
    if states[i] then
      local attempts, interruptions = parse_state(states[i])
      holder = token .. (attempts + 1) .. ':' .. interruptions .. since
    end
    holds[#holds + 1] = id
    holds[#holds + 1] = holder .. string.sub(members[i], 1, 15) .. ':' .. picked[2 * i] .. worker
    leases[#leases + 1] = deadline
    leases[#leases + 1] = id
  end
end

-- The first write is one that a full memory allows: it must not keep workers from emptying it.
if #gone > 0 then
  redis.call('HDEL', held, unpack(gone))
  redis.call('ZREM', leased, unpack(gone))
  redis.call('HDEL', body, unpack(gone))
  if some_came_back then
    redis.call('HDEL', state, unpack(gone))
  end
end
if #ids > 0 then
  redis.call('ZREMRANGEBYRANK', ready, 0, #ids - 1)
  redis.call('SET', fence, number)
  if #holds > 0 then
    redis.call('HSET', held, unpack(holds))
    redis.call('ZADD', leased, unpack(leases))
  end
  -- There is more than one window: call the next worker too.
  if (is_cut or #ids == limit) and calling == 0 and redis.call('EXISTS', ready) == 1 then
    redis.call('RPUSH', wake, '1')
  end
end
return { number, members, bodies, states, lost, is_cut and 1 or 0 }
