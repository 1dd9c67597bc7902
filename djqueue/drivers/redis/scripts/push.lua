-- Stores jobs, in order. An id that is there already changes nothing.
--
-- KEYS  number body ready delayed wake
-- and behind them the pusher's own; with an outbox one for each job, which tells of its push
-- ARGV  the name of this call; the names that show that it has run, if it may have; the seconds
--       for which a push is remembered;
--       for each job: its id, its rank (100 minus the priority, as three digits), its delay in
--       milliseconds, and its name and payload, which are only copied
-- Returns how many are new.

local number, body, ready, delayed, wake = unpack(KEYS)
local pusher, seconds = KEYS[6], ARGV[3] + 0

-- Everything that can fail: reads that find a key of another type, arguments that are no numbers.
if ARGV[2] ~= '' then
  local last = redis.call('GET', pusher)
  if last and #last == 16 and string.find(ARGV[2], last, 1, true) then
    return 0
  end
end
local ids = {}
for i = 4, #ARGV, 4 do
  ids[#ids + 1] = ARGV[i]
end
local known = redis.call('HMGET', body, unpack(ids))
redis.call('ZCARD', ready)
redis.call('ZCARD', delayed)
local calling = redis.call('LLEN', wake)
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local created = string.format('%.0f', math.floor(now))
-- Scores as text: Redis would write each number out again.
local new, scores, dues, seen = {}, {}, {}, {}
for i, id in ipairs(ids) do
  local told = KEYS[6 + i] and redis.call('EXISTS', KEYS[6 + i]) == 1
  if not known[i] and not seen[id] and not told then
    seen[id] = true
    new[#new + 1] = i
    local rank, delay = ARGV[4 * i + 1], ARGV[4 * i + 2]
    if delay ~= '0' then
      dues[i] = string.format('%.0f', math.ceil(now + delay))
    end
    if not scores[rank] then
      scores[rank] = string.format('%.0f', rank * 4398046511104 + math.floor(now))
    end
  end
end
if #new == 0 then
  return 0
end

-- The first write is one that a full memory refuses.
local place = redis.pcall('INCRBY', number, #new)
if type(place) == 'table' and not string.find(place.err, 'not an integer', 1, true) then
  return place
elseif type(place) == 'table' or place > 200000000000000 then
  -- Somebody else's: an order has room for twelve hexadecimal digits.
  redis.call('SET', number, #new)
  place = #new
end
place = place - #new
redis.call('SET', pusher, ARGV[1], 'EX', seconds)
local bodies, now_ready, later = {}, {}, {}
for _, i in ipairs(new) do
  place = place + 1
  local id, rank = ids[i], ARGV[4 * i + 1]
  local order = rank .. string.format('%012x', place)
  bodies[#bodies + 1] = id
  bodies[#bodies + 1] = order .. created .. ARGV[4 * i + 3]
  local target = dues[i] and later or now_ready
  target[#target + 1] = dues[i] or scores[rank]
  target[#target + 1] = order .. id
  if KEYS[6 + i] then
    redis.call('SET', KEYS[6 + i], '1', 'EX', seconds)
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
return #new
