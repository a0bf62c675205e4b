-- dkjson: JSON both ways, in Lua, and with lpeg where it is there.

return {
  debian = "lua-dkjson",

  use = function()
    local json = require "dkjson"
    local text = json.encode({ list = { 1, 2.5, json.null, "x\n\"y\"" }, empty = setmetatable({},
      { __jsontype = "array" }), yes = true },
      { indent = true, keyorder = { "yes", "list", "empty" } })
    local back, position, problem = json.decode(text)
    local nothing, at, message = json.decode '{"broken": [1, 2'
    return text .. position .. tostring(problem) .. back.list[4] .. tostring(nothing)
      .. tostring(at) .. message
      .. json.encode((json.decode('{"u":"\\u00e4\\ud83d\\ude00"}'))) .. json.quotestring "tab\t"
  end,

  objects = function()
    local json = require "dkjson"
    local kept = json.decode '{"a":{"b":[true,null]}}'
    local encode, decode = json.encode, json.decode
    return function()
      return encode(kept, { indent = false }) .. encode({ f = print },
        { exception = json.encodeexception }):gsub("builtin: %x+", "")
        .. decode "[7]"[1] .. tostring(getmetatable(kept).__jsontype)
    end
  end,
}
