-- inspect.lua: tables as text.

return {
  debian = "lua-inspect",

  use = function()
    local inspect = require "inspect"
    local ring = { 1, 2, { a = { b = "text\n" } } }
    ring.self, ring[true] = ring, "yes"
    return inspect(setmetatable(ring, { __index = ring }))
      .. inspect(ring, { depth = 1, indent = " " })
      .. inspect({ secret = 1, open = 2 }, { process = function(item, path)
        if path[#path] ~= "secret" then return item end
      end })
  end,

  objects = function()
    local inspect = require "inspect"
    local hidden = setmetatable({ inspect = inspect }, { __tostring = inspect })
    local again = inspect.inspect
    return function() return again { 1, key = { hidden.inspect { x = 1 } } } end
  end,
}
