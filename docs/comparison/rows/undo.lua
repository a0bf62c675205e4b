-- The last reload can be undone: the old code runs, on the data as they are now.
local case = ...
local source = [[
  local counter, count = {}, 0
  function counter.add() count = count + %d return count end
  return counter
]]
case.write("counter", source:format(1))
require "counter".add()
case.write("counter", source:format(100))
case.reload "counter"
require "counter".add()
return case.undo "counter" and require "counter".add() == 102
