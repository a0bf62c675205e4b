-- luajson: a parser of lpeg patterns in many modules, which build one another's grammar when they
-- are loaded.

return {
  debian = "lua-json",

  vm_only = {
    ["json.util"] =
      "`null` is a function that stands for a value: patterns that other modules made hold it, "
      .. "and it is compared",
  },

  use = function()
    local json = require "json"
    local value = json.decode '{"a":[1,2.5e3,"x",null],"b":{"c":true}}'
    local bad, message = pcall(json.decode, '{"a":')
    return json.encode { 1, "x\n", { k = false } } .. tostring(value.a[2]) .. value.a[3]
      .. tostring(value.b.c)
      .. tostring(value.a[4] == json.util.null) .. tostring(bad) .. tostring(message)
      .. json.encode { json.decode.simple and "simple" }
  end,

  objects = function()
    local json = require "json"
    local decode = json.decode.getDecoder { object = { trailingComma = true } }
    local encode = json.encode.getEncoder()
    return function() return encode(decode '{"k":[1,2],}') .. tostring(json.decode.util ~= nil) end
  end,
}
