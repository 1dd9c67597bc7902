-- Stores jobs, in order, each only if no other job of its queue has its unique key. A job has its
-- key as long as its body is there, so every end frees it.
--
-- CALLS  push
-- KEYS  number body ready delayed wake unique
-- and behind them the same as for a push
-- ARGV  three as for a push;
--       for each job: its unique key, the milliseconds after which another job takes that, or
--       nothing, and the four that a push takes
-- Returns for each job an empty text, or the id of the job that has its key.

local number, body, ready, delayed, wake, unique = unpack(KEYS)
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local keys = {}
for i = 4, #ARGV, 6 do
  keys[#keys + 1] = ARGV[i]
end

-- The id of the job that has the key; nothing where that has ended, or its time has.
local function holder_of(value)
  local id, ends = string.sub(value, 1, 36), tonumber(string.sub(value, 38))
  if not (ends and ends <= now) and redis.call('HEXISTS', body, id) == 1 then
    return id
  end
end

local before = redis.call('HMGET', unique, unpack(keys))
local answer, taken = {}, {}
local push_keys = { number, body, ready, delayed, wake, KEYS[7] }
local push_arguments = { ARGV[1], ARGV[2], ARGV[3] }
for n, key in ipairs(keys) do
  local at = 6 * n - 2
  local id, milliseconds = ARGV[at + 2], ARGV[at + 1]
  local holder = before[n] and holder_of(before[n])
  if holder and holder ~= id then
    answer[n] = holder
  else
    answer[n] = ''
    local ends = milliseconds ~= '' and string.format(':%.0f', now + milliseconds) or ''
    taken[#taken + 1] = key
    taken[#taken + 1] = id .. ends
    for i = at + 2, at + 5 do
      push_arguments[#push_arguments + 1] = ARGV[i]
    end
    push_keys[#push_keys + 1] = KEYS[7 + n]
  end
end
if #taken == 0 then
  return answer
end

local pushed = push(push_keys, push_arguments)
if type(pushed) == 'table' then
  return pushed -- an error: nothing was written
end
redis.call('HSET', unique, unpack(taken))
-- Some of the keys that are free by now go, so that there are never many of them.
for _, key in ipairs(redis.call('HRANDFIELD', unique, #taken + 2)) do
  if not holder_of(redis.call('HGET', unique, key)) then
    redis.call('HDEL', unique, key)
  end
end
return answer
