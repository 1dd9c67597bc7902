-- Gives back slots of a funnel.
--
-- KEYS  holders, entered, lasted: as in enter.lua
-- ARGV  the holder; or a job, a run and a time: then all that runs of the job up to that one hold,
--       and have held for so long

local holders, entered, lasted = unpack(KEYS)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function leave(holder)
  if redis.call('ZREM', holders, holder) == 0 then
    return
  end
  local came = redis.call('HGET', entered, holder)
  redis.call('HDEL', entered, holder)
  if came then
    local mean = tonumber(redis.call('GET', lasted) or now - came)
    mean = mean + (now - came - mean) / 8
    redis.call('SET', lasted, string.format('%.0f', mean), 'EX', 86400)
  end
end

if not ARGV[2] then
  leave(ARGV[1])
  return
end
for _, holder in ipairs(redis.call('ZRANGE', holders, 0, -1)) do
  local its, run = string.match(holder, '^([^/]*)/([^/]*)/')
  local came = redis.call('HGET', entered, holder) or 0
  if its == ARGV[1] and tonumber(run) <= tonumber(ARGV[2]) and came + ARGV[3] <= now then
    leave(holder)
  end
end
