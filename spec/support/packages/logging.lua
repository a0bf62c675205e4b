-- LuaLogging: loggers are tables of closures.

return {
  debian = "lua-logging",

  use = function()
    local logging, lines = require "logging", {}
    local logger = logging.new(function(_, level, message)
      lines[#lines + 1] = level .. " " .. message
      return true
    end)
    logger:setLevel(logging.INFO)
    logger:debug "not this"
    logger:info "an info"
    logger:warn("number %d", 7)
    logger:log(logging.ERROR, { a = 1, 2 })
    logger:error(function(x) return "lazy " .. x end, "text")
    return table.concat(lines, "|") .. logging.prepareLogMsg("%level: %message", "now",
      "WARN", "text")
  end,

  objects = function()
    local logging, lines = require "logging", {}
    local logger = logging.new(function(_, level, message)
      lines[1] = level .. message
      return true
    end)
    local info = logger.info
    return function()
      info(logger, "kept %s", "one")
      logger:setLevel "WARN"
      logger:info "no"
      local shown = lines[1]
      logger:setLevel "DEBUG"
      return shown
    end
  end,
}
