-- Ways to reload. Each function takes a checkout of the library, and the directory of the program.
-- It returns `reload(names)`, and `undo(name)` if the library has that.

local ways = {}

function ways.hotreload()
  local hotreload = require "hotreload"
  return {
    reload = function(names) return hotreload.reload(names, { scope = "vm" }) end,
    undo = hotreload.undo,
  }
end

--- A reload of each module alone, by a function of one name.
local function each(reload)
  return {
    reload = function(names)
      for _, name in ipairs(names) do
        local ok, message = reload(name)
        if not ok then return false, message end
      end
      return true
    end,
  }
end

--- Clear `package.loaded`, and require again.
ways["require"] = function()
  return each(function(name)
    package.loaded[name] = nil
    return pcall(require, name)
  end)
end

--- https://github.com/rxi/lume
function ways.lume(checkout)
  return each(dofile(checkout .. "/lume.lua").hotswap)
end

--- https://github.com/sundream/ggApp
function ways.ggApp(checkout)
  gg = {}
  dofile(checkout .. "/gg/base/reload.lua")
  return each(gg.reload)
end

--- https://github.com/cloudwu/luareload
function ways.luareload(checkout)
  return { reload = dofile(checkout .. "/reload.lua").reload }
end

--- https://github.com/jinq0123/hotfix
function ways.hotfix(checkout)
  package.path = checkout .. "/lua/?.lua;" .. package.path
  local hotfix = require "hotfix.hotfix"
  return each(function(name) return pcall(hotfix.hotfix_module, name) end)
end

--- https://github.com/asqbtcupid/lua_hotupdate, whose file for Lua 5.3 asks for that version, and
--- finds files as Windows does: both are replaced here.
function ways.lua_hotupdate(checkout, directory)
  local version = _VERSION
  _VERSION = "Lua 5.3" -- luacheck: ignore 121
  local update = dofile(checkout .. "/luahotupdate_lua53.lua")
  _VERSION = version -- luacheck: ignore 121
  local names, problem = {}, nil
  update.SetFileLoader(function()
    return setmetatable({}, { __index = function(_, name)
      return { { LuaPath = name, SysPath = ("%s/%s.lua"):format(directory, name) } }
    end })
  end, function(path)
    local file = assert(io.open(path))
    local text = file:read "a"
    file:close()
    return text
  end)
  package.preload["hotreload.comparison.list"] = function() return names end
  update.Init("hotreload.comparison.list", {}, function(message) problem = message end)
  return {
    reload = function(list)
      names, problem = list, nil
      update.Update()
      return problem == nil, problem
    end,
  }
end

return ways
