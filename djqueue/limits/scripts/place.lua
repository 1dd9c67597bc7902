-- Books the next free time for a job that was refused.
--
-- KEYS  booked: the time until which times are given away
-- ARGV  how far from now at least, the distance to the next one, the horizon
-- Returns how far from now it is, or -1 beyond the horizon.

local first, step, horizon = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local booked = tonumber(redis.call('GET', KEYS[1]) or 0)
if booked >= now + horizon then
  return -1
end
local place = math.max(booked, now + first)
local left = string.format('%.0f', (place + step - now) / 1000 + 1000)
redis.call('SET', KEYS[1], string.format('%.0f', place + step), 'PX', left)
return string.format('%.0f', place - now)
