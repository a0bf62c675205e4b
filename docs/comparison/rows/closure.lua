-- A closure that a function of the file made before runs the new code, and keeps its variables.
local case = ...
local source = [[
  local skill = {}
  function skill.new(name)
    local uses = 0
    return function() uses = uses + 1 return name .. " %s " .. uses end
  end
  return skill
]]
case.write("skill", source:format "hits")
local use = require "skill".new "sword"
use()
case.write("skill", source:format "strikes")
case.reload "skill"
return use() == "sword strikes 2"
