-- Removes what is over and reserves the next jobs, in one step: the hot path of a worker.
--
-- KEYS  number body ready leased held state wake
-- ARGV  how many to reserve, the lease in milliseconds, the worker,
--       then for each job that is over: its id and its token
-- Returns the fencing number of what was reserved; its members, bodies and states (none at all if
-- no job has come back yet); the ids that were lost.

local number, body, ready, leased, held, state, wake = unpack(KEYS)
local limit, lease, worker = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

-- Everything that can fail: reads that find a key of another type, arguments that are no numbers.
local gone, lost = {}, {}
if #ARGV > 3 then
  local ids = {}
  for i = 4, #ARGV, 2 do
    ids[#ids + 1] = ARGV[i]
  end
  local holders = redis.call('HMGET', held, unpack(ids))
  for i, id in ipairs(ids) do
    local token = ARGV[3 + 2 * i]
    -- The fence: whoever reserved the job later has another number here.
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
local fence = tonumber(redis.call('GET', number) or 0) + 1
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local picked = {}
if limit > 0 then
  picked = redis.call('ZRANGE', ready, 0, limit - 1, 'WITHSCORES')
end
local members, ids, bodies, states = {}, {}, {}, {}
for i = 1, #picked, 2 do
  members[#members + 1] = picked[i]
  ids[#ids + 1] = string.sub(picked[i], 16)
end
if #ids > 0 then
  bodies = redis.call('HMGET', body, unpack(ids))
  if some_came_back then
    states = redis.call('HMGET', state, unpack(ids))
  end
end
-- As texts once, not again for each job.
local deadline = string.format('%.0f', now + lease)
local since = string.format(':%.0f:', now)
fence = string.format('%.0f', fence)
local first_time = fence .. ':1:0' .. since
worker = ':' .. worker
local holds, leases = {}, {}
for i, id in ipairs(ids) do
  if bodies[i] then
    local holder = first_time
    if states[i] then
      local attempts, interruptions = string.match(states[i], '^(%d+):(%d+):')
      holder = fence .. ':' .. (attempts + 1) .. ':' .. interruptions .. since
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
  redis.call('SET', number, fence)
  if #holds > 0 then
    redis.call('HSET', held, unpack(holds))
    redis.call('ZADD', leased, unpack(leases))
  end
  -- There is more than one window: call the next worker too.
  if #ids == limit and calling == 0 and redis.call('EXISTS', ready) == 1 then
    redis.call('RPUSH', wake, '1')
  end
end
return { fence, members, bodies, states, lost }
