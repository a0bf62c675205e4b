-- A handler that the file registers while it is loaded is there once, and is new.
local case = ...
case.write("bus", [[
  local bus = { list = {} }
  function bus.on(handler) bus.list[#bus.list + 1] = handler end
  return bus
]])
local source = [[
  local bus = require "bus"
  bus.on(function() return "%s" end)
  return {}
]]
case.write("chat", source:format "old")
require "chat"
case.write("chat", source:format "new")
case.reload "chat"
local list = require "bus".list
return #list == 1 and list[1]() == "new"
