--- Busted's terminal output, and the counts in a file besides: `HOTRELOAD_COUNTS` names it.
-- The file is written when the last spec has ended: passed, failed and pending ones, in one line.
-- Where it is missing busted did not get that far. (The exit status does not tell: it is the number
-- of failures, modulo 256.)

return function(options)
  local busted = require "busted"
  local handler = require("busted.outputHandlers." .. options.defaultOutput)(options)

  busted.subscribe({ "suite", "end" }, function()
    local path = os.getenv "HOTRELOAD_COUNTS"
    if path then
      local file = assert(io.open(path, "w"))
      file:write(("%d %d %d\n"):format(
        handler.successesCount, handler.failuresCount + handler.errorsCount, handler.pendingsCount))
      file:close()
    end
    return nil, true
  end)

  return handler
end
