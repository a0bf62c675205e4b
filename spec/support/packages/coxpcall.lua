-- coxpcall: protected calls in coroutines.

return {
  debian = "lua-coxpcall",

  use = function()
    local coxpcall = require "coxpcall"
    local thread = coroutine.wrap(function()
      return coxpcall.pcall(function(x)
        local y = coroutine.yield(x + 1)
        error("oh " .. y, 0)
      end, 1)
    end)
    local first = thread()
    local ok, message = thread "dear"
    return first .. tostring(ok) .. message
      .. tostring(select(2, coxpcall.xpcall(error, function(m) return m
      .. "!" end, "handled")))
  end,

  objects = function()
    local copcall = require "coxpcall".pcall
    return function()
      return tostring(copcall(error, "x")) .. select(2, copcall(string.rep, "ab", 2))
    end
  end,
}
