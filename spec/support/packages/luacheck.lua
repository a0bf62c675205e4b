-- Luacheck, a checker of Lua in some fifty modules.

return {
  debian = "lua-check",

  needs = { ["luacheck.vendor.sha1.bit32_ops"] = "bit32",
    ["luacheck.vendor.sha1.bit_ops"] = "bit" },
  changed = {
    ["luacheck.multithreading"] = "it returns early, and the file has a function behind that",
  },
  programs = {
    ["luacheck.main"] = "it is the command itself",
  },

  use = function()
    local luacheck = require "luacheck"
    local report = luacheck.check_strings({ "local x = 1\nprint(y)\nlocal \z
      function f() return f end", "return +" },
      { std = "max" })
    local lines = {}
    for _, file in ipairs(report) do
      for _, event in ipairs(file) do lines[#lines + 1] = event.line .. ":" .. event.column .. " "
        .. luacheck.get_message(event) end
    end
    local format = require "luacheck.format"
    return table.concat(lines, "\n") .. report.warnings .. report.errors
      .. format.format(report, { "a.lua", "b.lua" },
        { formatter = "plain", quiet = 0, codes = true, limit = 0,
        color = false })
  end,

  objects = function()
    local check, options = require "luacheck".check_strings, { unused = false }
    local decoded = require "luacheck.decoder".decode "text ä"
    return function()
      return check({ "x = 1; local y" }, options)[1][1].code
        .. decoded:get_printable_substring(1, 4)
    end
  end,
}
