-- Lists the unique keys that jobs have.
--
-- KEYS  body unique
-- Returns each key, and the id of the job that has it.

local body, unique = unpack(KEYS)
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local values = redis.call('HGETALL', unique)
local found = {}
for i = 1, #values, 2 do
  local id, ends = string.sub(values[i + 1], 1, 36), tonumber(string.sub(values[i + 1], 38))
  if not (ends and ends <= now) and redis.call('HEXISTS', body, id) == 1 then
    found[#found + 1] = values[i]
    found[#found + 1] = id
  end
end
return found
