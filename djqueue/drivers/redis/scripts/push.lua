-- Stores jobs, in order. An id that is there already changes nothing.
--
-- KEYS  number body ready delayed wake
-- ARGV  for each job: its id, its rank (100 minus the priority, as three digits),
--       its delay in milliseconds, and its name and payload, which are only copied
-- Returns how many are new.

local number, body, ready, delayed, wake = unpack(KEYS)

-- Everything that can fail: reads that find a key of another type, arguments that are no numbers.
local ids = {}
for i = 1, #ARGV, 4 do
  ids[#ids + 1] = ARGV[i]
end
local known = redis.call('HMGET', body, unpack(ids))
redis.call('ZCARD', ready)
redis.call('ZCARD', delayed)
local calling = redis.call('LLEN', wake)
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local created = string.format('%.0f', math.floor(now))
local new = {}
for i, id in ipairs(ids) do
  if not known[i] then
    local rank, delay = tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i - 1])
    local available = delay > 0 and math.ceil(now + delay) or math.floor(now)
    -- 2^42 ms reach to the year 2109; a rank above them keeps the score exact in a double.
    new[#new + 1] = { i, id, rank, delay > 0, available, rank * 4398046511104 + available }
  end
end
if #new == 0 then
  return 0
end

-- The first write is one that a full memory refuses.
local last = redis.call('INCRBY', number, #new)
local bodies, now_ready, later, seen, count = {}, {}, {}, {}, 0
for i, job in ipairs(new) do
  local index, id = job[1], job[2]
  if not seen[id] then
    seen[id], count = true, count + 1
    local order = ARGV[4 * index - 2] .. string.format('%012x', last - #new + i)
    bodies[#bodies + 1] = id
    bodies[#bodies + 1] = order .. created .. ARGV[4 * index]
    local target = job[4] and later or now_ready
    target[#target + 1] = job[4] and job[5] or job[6]
    target[#target + 1] = order .. id
  end
end
redis.call('HSET', body, unpack(bodies))
if #later > 0 then
  redis.call('ZADD', delayed, unpack(later))
end
if #now_ready > 0 then
  redis.call('ZADD', ready, unpack(now_ready))
  if calling == 0 then
    redis.call('RPUSH', wake, '1')
  end
end
return count
