-- Looks at jobs. Writes nothing.
--
-- KEYS  body ready delayed leased held state
-- ARGV  the bytes of bodies after which it stops; for each job: its id, its order or ''
-- Returns the time in milliseconds; for each job that is there: id, body, state, holder,
-- place in line, due time, deadline; how many it has looked at.

local body, ready, delayed, leased, held, state = unpack(KEYS)
local time = redis.call('TIME')
local bytes = tonumber(ARGV[1])
local found, looked_at = {}, 0
for i = 2, #ARGV, 2 do
  local id, order = ARGV[i], ARGV[i + 1]
  local text = redis.call('HGET', body, id)
  looked_at = looked_at + 1
  if text then
    local known = redis.call('HGET', state, id)
    if order == '' then
      order = known and string.match(known, '^%d+:%d+:(%x+):') or string.sub(text, 1, 15)
    end
    found[#found + 1] = {
      id, text, known, redis.call('HGET', held, id), redis.call('ZSCORE', ready, order .. id),
      redis.call('ZSCORE', delayed, order .. id), redis.call('ZSCORE', leased, id),
    }
    bytes = bytes - #text
    if bytes <= 0 then
      break
    end
  end
end
return { time[1] * 1000 + math.floor(time[2] / 1000), found, looked_at }
