-- ldoc: the modules of a program that reads Lua and writes HTML.

return {
  debian = "lua-ldoc",

  unloadable = {
    ["ldoc.builtin.debug"] = "it is a text with comments for ldoc to read, and no code",
    ["ldoc.builtin.global"] = "as the one before",
    ["ldoc.builtin.io"] = "as the one before",
    ["ldoc.builtin.lpeg"] = "as the one before",
    ["ldoc.builtin.string"] = "as the one before",
    ["ldoc.builtin.table"] = "as the one before",
    ["ldoc.builtin.utf8"] = "as the one before",
  },

  refused = {
    ["ldoc.html._code_css"] = "it returns a string (R1.5)",
    ["ldoc.html._reset_css"] = "as the one before",
    ["ldoc.html.ldoc_css"] = "as the one before",
    ["ldoc.html.ldoc_fixed_css"] = "as the one before",
    ["ldoc.html.ldoc_ltp"] = "as the one before",
    ["ldoc.html.ldoc_md_ltp"] = "as the one before",
    ["ldoc.html.ldoc_one_css"] = "as the one before",
    ["ldoc.html.ldoc_pale_css"] = "as the one before",
  },

  use = function()
    local lexer, parse, doc = require "ldoc.lexer", require "ldoc.parse", require "ldoc.doc"
    local words = {}
    for kind, value in lexer.lua("--- A function.\nlocal function f(a, b) return a .. b end", {}) do
      words[#words + 1] = kind .. ":" .. tostring(value):gsub("%s+$", "")
    end
    local extracted = require "ldoc.parse" and require "ldoc.tools".split_dotted_name "a.b.c"
    local builtin = require "ldoc.builtin.globals"
    return table.concat(words, "|") .. tostring(extracted) .. type(doc.Item) .. type(parse.file)
      .. tostring(builtin.functions and builtin.functions.pcall ~= nil)
      .. require "ldoc.html.ldoc_css":sub(1, 30)
  end,

  objects = function()
    local lang = require "ldoc.lang".lua
    local tokens = require "ldoc.lexer".lua("x = 'y'", {})
    local OrderedMap = require "pl.OrderedMap"()
    OrderedMap:set("k", "v")
    return function()
      return tostring(lang:empty_comment "--") .. type(tokens) .. OrderedMap:get "k"
    end
  end,
}
