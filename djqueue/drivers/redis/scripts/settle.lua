-- Puts reserved jobs back: released, returned, or returned with one interruption more.
--
-- USES  numbers stored
-- KEYS  number body ready delayed leased held state wake
-- ARGV  for each job: its id, its token, the verdict (1 release, 2 return, 3 interrupted),
--       the delay of a release in milliseconds, 1 if the release is charged,
--       1 if a history follows, the history
-- Returns the ids that were lost.

local number, body, ready, delayed, leased, held, state, wake = unpack(KEYS)

-- Everything that can fail: reads that find a key of another type, arguments that are no numbers.
local ids = {}
for i = 1, #ARGV, 7 do
  ids[#ids + 1] = ARGV[i]
end
local holders = redis.call('HMGET', held, unpack(ids))
local states = redis.call('HMGET', state, unpack(ids))
redis.call('ZCARD', ready)
redis.call('ZCARD', delayed)
redis.call('ZCARD', leased)
local calling = redis.call('LLEN', wake)
local next_number = digits(redis.call('GET', number))
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local lost, back, now_ready, later, stored, seen = {}, {}, {}, {}, {}, {}
for i, id in ipairs(ids) do
  local at = 7 * i - 6
  local token, verdict, delay = ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  -- The fence: a later reservation of the job has another number here.
  if seen[id] or not holders[i] or string.sub(holders[i], 1, #token) ~= token then
    lost[#lost + 1] = id
  else
    seen[id] = true
    local attempts, interruptions, order, score =
      parse_holder(holders[i], states[i], body, id, now)
    local _, _, history = parse_state(states[i])
    if ARGV[at + 5] == '1' then
      history = ARGV[at + 6]
    end
    if verdict ~= 1 or ARGV[at + 4] == '0' then
      attempts = attempts - 1
    end
    if verdict == 3 then
      interruptions = interruptions + 1
    end
    if verdict == 1 then
      -- Behind whatever became available in this same millisecond.
      next_number = next_number + 1
      order = string.sub(order, 1, 3) .. string.format('%012x', next_number)
      if delay > 0 then
        later[#later + 1] = math.ceil(now + delay)
        later[#later + 1] = order .. id
      else
        score = score_at(order, now)
      end
    end
    if verdict ~= 1 or delay <= 0 then
      now_ready[#now_ready + 1] = score
      now_ready[#now_ready + 1] = order .. id
    end
    back[#back + 1] = id
    stored[#stored + 1] = id
    stored[#stored + 1] = table.concat({ attempts, interruptions, order, history }, ':')
  end
end
if #back == 0 then
  return lost
end

-- The first write is one that a full memory allows: it must not keep workers from handing back.
redis.call('ZREM', leased, unpack(back))
redis.call('HDEL', held, unpack(back))
redis.call('HSET', state, unpack(stored))
redis.call('SET', number, string.format('%.0f', next_number))
if #later > 0 then
  redis.call('ZADD', delayed, unpack(later))
end
if #now_ready > 0 then
  redis.call('ZADD', ready, unpack(now_ready))
  if calling == 0 then
    redis.call('RPUSH', wake, '1')
  end
end
return lost
