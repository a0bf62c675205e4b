-- lpeg's `re`: a grammar that is built when the module is loaded, and caches of compiled patterns,
-- weak tables.

return {
  debian = "lua-lpeg",

  use = function()
    local re = require "re"
    local list =
      re.compile(
        [[ list <- {| item (',' item)* |}  item <- { %a+ } / number  number <- %d+ -> tonumber ]],
      { tonumber = tonumber })
    local items = list:match "a,1,bc,22"
    local where = table.concat({ re.find("the number 42", "[0-9]+") }, "-")
    local bad, message = pcall(re.compile, "a <- b")
    return table.concat(items, ";") .. where .. re.gsub("hello world", "[aeiou]", "*")
      .. tostring(re.match("x=1",
      "{[a-z]} '=' {%d}"))
      .. tostring(bad) .. message
  end,

  objects = function()
    local re = require "re"
    local pattern = re.compile "{| {:key: %a+ :} ' '* '=' ' '* {:value: %d+ :} |}"
    local gsub, find = re.gsub, re.find
    return function()
      local found = pattern:match "size = 12"
      return found.key .. found.value .. gsub("a1b2", "%d", "#") .. find("abc", "'c'")
    end
  end,
}
