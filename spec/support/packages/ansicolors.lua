-- ansicolors: a table that can be called.

return {
  debian = "lua-ansicolors",

  use = function()
    local colors = require "ansicolors"
    return colors "%{red bright}alarm%{reset} plain" .. colors.noReset "%{bluebg}x" .. ("%d")
      :format(#colors "%{dim}y")
  end,

  objects = function()
    local colors = require "ansicolors"
    local plain = colors.noReset
    return function() return colors "%{green}go" .. plain "%{underline}w" end
  end,
}
