-- A local variable that functions of the file share keeps its value.
local case = ...
local source = [[
  local counter, count = {}, 0
  function counter.add() count = count + %d return count end
  return counter
]]
case.write("counter", source:format(2))
require "counter".add()
case.write("counter", source:format(1))
case.reload "counter"
return require "counter".add() == 3
