-- Which of a queue's jobs are in one state, next to run first. Writes nothing.
--
-- USES  numbers stored
-- KEYS  body ready delayed leased state
-- ARGV  waiting, delayed, reserved or stuck; how many at most; the id of the last one seen, or ''
-- Returns orders (empty for reserved ones) and ids, in turn. A delayed job that is due counts as waiting, behind those in line.

local body, ready, delayed, leased, state = unpack(KEYS)
local wanted, limit, after = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local last = after
if after ~= '' and (wanted == 'waiting' or wanted == 'delayed') then
  last = order_of(redis.call('HGET', state, after), body, after) .. after
end

local found = {}
local function take(zset, from, to, cut)
  local first = redis.call('ZCOUNT', zset, '-inf', from)
  local count = redis.call('ZCOUNT', zset, '-inf', to) - first
  local rank = after ~= '' and redis.call('ZRANK', zset, last)
  local start = first
  if rank and rank >= first then
    start = rank + 1
  end
  local stop = math.min(first + count, start + limit - #found / 2) - 1
  if stop >= start then
    for _, member in ipairs(redis.call('ZRANGE', zset, start, stop)) do
      found[#found + 1] = string.sub(member, 1, cut - 1)
      found[#found + 1] = string.sub(member, cut)
    end
  end
  return rank
end

if wanted == 'waiting' then
  -- Once the last one seen is among the due ones, those in line have been seen.
  if after == '' or redis.call('ZRANK', ready, last) or not redis.call('ZRANK', delayed, last) then
    take(ready, '-inf', '+inf', 16)
  end
  if #found / 2 < limit then
    take(delayed, '-inf', now, 16)
  end
elseif wanted == 'delayed' then
  take(delayed, now, '+inf', 16)
elseif wanted == 'reserved' then
  take(leased, '(' .. now, '+inf', 1)
else
  take(leased, '-inf', '(' .. now, 1)
end
return found
