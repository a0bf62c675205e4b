-- LuaExpat: a parser in C, and modules in Lua around it.

return {
  debian = "lua-expat",

  use = function()
    local lom, totable = require "lxp.lom", require "lxp.totable"
    local tree = lom.parse "<a x='1'><b>text</b><b>more</b></a>"
    local table_ = totable.torecord(totable.parse "<r><k>v</k></r>")
    local parser = require "lxp.threat".new({ StartElement = function() end,
      threat = { depth = 2 } })
    local ok, message = parser:parse "<a><b><c/></b></a>"
    local names = {}
    for tag in lom.list_children(tree, "b") do names[#names + 1] = tag[1] end
    return tree.tag .. tree.attr.x .. table.concat(names, ",") .. tostring(table_.k) .. tostring(ok)
      .. tostring(message)
      .. lom.find_elem(tree, "b")[1]
  end,

  objects = function()
    local lom = require "lxp.lom"
    local tree = lom.parse "<a><b/><c n='2'/></a>"
    local find, parser = lom.find_elem, require "lxp.threat".new { threat = {},
      StartElement = function() end }
    return function()
      return find(tree, "c").attr.n .. type(parser) .. lom.list_children(tree)().tag
    end
  end,
}
