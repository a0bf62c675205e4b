-- A plugin to be reloaded: it counts whom it has greeted.

local count = 0

function greeting(name)
  count = count + 1
  return ("hello %s, you are number %d"):format(name, count)
end

-- Through the plugin's table, so that the hook that is registered calls what stands there now.
module:hook("greet", function(event) return greeting(event.name) end)
