-- The library.
require("hotreload")

return function(name)
  local loaded, reload = package.loaded, gg.reload
  return function()
    local ok, message = reload(name)
    if not ok then
      error(message, 0)
    end
    return loaded[name]
  end
end
