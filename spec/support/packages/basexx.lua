-- basexx: base 16, 32, 64 and others.

return {
  debian = "lua-basexx",

  use = function()
    local basexx = require "basexx"
    return basexx.to_base64 "Hello" .. basexx.from_base64 "SGVsbG8=" .. basexx.to_hex "az"
      .. basexx.to_base32 "foo"
      .. basexx.to_z85 "HelloWor" .. basexx.to_bit "A"
      .. basexx.from_crockford(basexx.to_crockford "text")
      .. tostring((basexx.from_hex "xy"))
  end,

  objects = function()
    local encode, decode = require "basexx".to_url64, require "basexx".from_url64
    return function() return encode "\255\254??" .. decode "YWJj" end
  end,
}
