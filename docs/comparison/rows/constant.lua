-- A local constant has the file's new value.
local case = ...
local source = [[
  local MAX_LEVEL = %d
  local level = {}
  function level.cap(n) return n < MAX_LEVEL and n or MAX_LEVEL end
  return level
]]
case.write("level", source:format(60))
assert(require "level".cap(100) == 60)
case.write("level", source:format(80))
case.reload "level"
return require "level".cap(100) == 80
