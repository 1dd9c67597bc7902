-- Looks at jobs. Writes nothing.
--
-- KEYS  body ready delayed leased held state
-- ARGV  ids
-- Returns the time in milliseconds; for each job that is there: id, body, state, holder,
-- place in line, due time, deadline.

local body, ready, delayed, leased, held, state = unpack(KEYS)
local time = redis.call('TIME')
local found = {}
for _, id in ipairs(ARGV) do
  local text = redis.call('HGET', body, id)
  if text then
    local known = redis.call('HGET', state, id)
    local order = known and string.match(known, '^%d+:%d+:(%x+):') or string.sub(text, 1, 15)
    found[#found + 1] = {
      id, text, known, redis.call('HGET', held, id), redis.call('ZSCORE', ready, order .. id),
      redis.call('ZSCORE', delayed, order .. id), redis.call('ZSCORE', leased, id),
    }
  end
end
return { time[1] * 1000 + math.floor(time[2] / 1000), found }
