-- Reads where jobs are, on top of `numbers`.

local function is_order(text)
  return text and #text == 15 and string.find(text, '^%d%d%d%x+$')
end

-- The score in line of a job that is available since `now`, in milliseconds.
local function score_at(order, now)
  -- 2^42 ms reach to the year 2109; a rank above them keeps the score exact in a double.
  return string.format('%.0f', digits(string.sub(order, 1, 3)) * 4398046511104 + math.floor(now))
end

-- The order of a job, from its state if it has one, else from its body.
local function order_of(known, body, id)
  local order = known and string.match(known, '^%d+:%d+:(%x+):')
  if is_order(order) then
    return order
  end
  order = string.sub(redis.call('HGET', body, id) or '', 1, 15)
  return is_order(order) and order or '100000000000000'
end

-- Attempt, interruptions, order and score of a reserved job, from its holder; what that does not
-- tell is made up from the rest that is known of the job.
local function parse_holder(holder, known, body, id, now)
  local attempt, interruptions, order, score =
    string.match(holder or '', '^%d+:%x+:(%d+):(%d+):%d+:(%x+):([^:]+):')
  if not attempt then
    attempt, interruptions = parse_state(known)
    attempt = attempt + 1
  else
    attempt, interruptions = math.max(count(attempt), 1), count(interruptions)
  end
  if not is_order(order) then
    order = order_of(known, body, id)
  end
  local number = tonumber(score)
  if not number or number ~= number then
    score = score_at(order, now)
  end
  return attempt, interruptions, order, score
end

