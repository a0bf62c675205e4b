-- lyaml: YAML by a library in C, with modules in Lua around it.

return {
  debian = "lua-yaml",

  use = function()
    local lyaml = require "lyaml"
    local value =
      lyaml.load "a: [1, 2.5, yes, ~]\nb:\n  - x: &n text\n  - *n\nc: 2001-01-01\nd: 0x1F\n"
    local parse = require "lyaml.functional".anyof { require "lyaml.implicit".hex,
      require "lyaml.implicit".bool }
    return lyaml.dump { { list = value.a[1] + value.a[2] } } .. tostring((value.a[3]))
      .. tostring(value.a[4] == lyaml.null)
      .. value.b[1].x .. value.b[2] .. value.d .. tostring((parse "0x10")) .. tostring((parse "on"))
      .. tostring((require "lyaml.explicit".int "0b101"))
  end,

  objects = function()
    local lyaml = require "lyaml"
    local id, isnull = require "lyaml.functional".id, require "lyaml.functional".isnull
    local load, null = lyaml.load, lyaml.null
    return function()
      return tostring(isnull(load "~")) .. tostring(isnull(null)) .. id "x" .. load("{k: v}").k
        .. tostring(null)
    end
  end,
}
