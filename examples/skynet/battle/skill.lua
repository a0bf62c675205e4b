-- The skill that is out of balance.
local skill = {}

local used = 0

function skill.hit(round)
    used = used + 1
    return 10 + round % 3
end

function skill.describe() return ("used %d times, version 1"):format(used) end

return skill
