-- Reads numbers that are kept about jobs. Whatever is damaged counts as the least that it can have
-- been, so that one broken value keeps no other job from running.

-- The whole number that `text` is in digits; 0 for anything else.
local function digits(text)
  local number = text and #text <= 16 and string.find(text, '^%d+$') and tonumber(text) or 0
  return number < 9000000000000000 and number or 0
end

-- A number of attempts or interruptions.
local function count(text)
  return text and #text < 10 and digits(text) or 0
end

-- A fencing number above the last one, and above those that another history of this queue may have
-- given: of a primary that was replaced, or of the second that a file had lost.
local function next_fence(last, time)
  return string.format('%.0f', math.max(digits(last) + 1, time[1] * 1000000 + time[2]))
end

-- Attempts, interruptions and history of a job, from its state.
local function parse_state(known)
  local attempts, interruptions, history = string.match(known or '', '^(%d+):(%d+):%x+:(.*)$')
  return count(attempts), count(interruptions), history or ''
end

