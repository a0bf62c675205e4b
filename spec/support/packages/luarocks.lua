-- LuaRocks: the modules of the program itself.

return {
  debian = "luarocks",

  needs = { ["luarocks.tools.zip"] = "zlib" },

  use = function()
    local vers, queries, dir = require "luarocks.core.vers", require "luarocks.queries",
      require "luarocks.dir"
    local util, persist, fun = require "luarocks.util", require "luarocks.persist",
      require "luarocks.fun"
    local query = queries.from_dep_string "lpeg >= 0.12, < 1.1"
    local out = {
      tostring(vers.compare_versions("1.2.10", "1.2.9")), vers.parse_version "2.0-1".string,
      tostring(query),
      tostring(vers.match_constraints(vers.parse_version "1.0.2", query.constraints)),
      dir.normalize "/a//b/../c/./d", dir.base_name "/x/y.lua", table.concat(fun.map({ 1, 2 },
        function(x) return x * 2 end), ","),
      persist.save_from_table_to_string({ package = "x", list = { 1, 2 } }),
      tostring(util.split_namespace "ns/name"),
    }
    local argparse = require "luarocks.argparse" "tool"
    argparse:option "--tree"
    out[#out + 1] = argparse:parse { "--tree", "t" }.tree
    return table.concat(out, "|")
  end,

  objects = function()
    local vers = require "luarocks.core.vers"
    local a, b = vers.parse_version "1.10-2", vers.parse_version "1.9-1"
    local deep = require "luarocks.util".deep_copy
    return function() return tostring(a > b) .. tostring(a) .. deep { x = { "y" } }.x[1] end
  end,
}
