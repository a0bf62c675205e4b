-- argparse: a module made of classes that are built by a function of its own.

return {
  debian = "lua-argparse",

  use = function()
    local argparse = require "argparse"
    local parser = argparse("tool", "Does things.")
    parser:argument "input":args "2"
    parser:option "-o --output":default "a.out":count "0-1"
    parser:flag "-v --verbose":count "0-3":target "level"
    parser:command "build":option "--with":choices { "x", "y" }
    parser:mutex(parser:flag "-q", parser:flag "-l")
    local result = parser:parse { "-vv", "one", "two", "-o", "out", "build", "--with", "y" }
    local bad, message = parser:pparse { "one", "two", "build", "--with", "z" }
    return table.concat({ parser:get_help(), parser:get_usage(), result.level, result.output,
      table.concat(result.input, ","),
      tostring(result.build), result.with, tostring(bad), message,
      parser:get_bash_complete() }, "\n")
  end,

  objects = function()
    local parser = require "argparse"():name "kept"
    parser:argument "file"
    parser:option "-n":convert(tonumber):action(function(args, name, value)
      args[name] = value * 2
    end)
    return function()
      local result = parser:parse { "-n", "21", "f.txt" }
      return result.file .. result.n .. parser:get_help()
    end
  end,
}
