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
-- Scores as text: Redis would write each number out anew.
local new, scores, dues, seen = {}, {}, {}, {}
for i, id in ipairs(ids) do
  if not known[i] and not seen[id] then
    seen[id] = true
    new[#new + 1] = i
    local rank, delay = ARGV[4 * i - 2], ARGV[4 * i - 1]
    if delay ~= '0' then
      dues[i] = string.format('%.0f', math.ceil(now + delay))
    end
    if not scores[rank] then
      -- 2^42 ms reach to the year 2109; a rank above them keeps the score exact in a double.
      scores[rank] = string.format('%.0f', rank * 4398046511104 + math.floor(now))
    end
  end
end
if #new == 0 then
  return 0
end

-- The first write is one that a full memory refuses.
local place = redis.call('INCRBY', number, #new) - #new
local bodies, now_ready, later = {}, {}, {}
for _, i in ipairs(new) do
  place = place + 1
  local id, rank = ids[i], ARGV[4 * i - 2]
  local order = rank .. string.format('%012x', place)
  bodies[#bodies + 1] = id
  bodies[#bodies + 1] = order .. created .. ARGV[4 * i]
  local target = dues[i] and later or now_ready
  target[#target + 1] = dues[i] or scores[rank]
  target[#target + 1] = order .. id
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
return #new
