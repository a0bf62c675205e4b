-- A plugin for Prosody: reloads code of the running server, its libraries (util.*, core.*, net.*)
-- and its plugins.
--
-- In the admin shell: hot:changed(), hot:dry("util.jid"), hot:reload("util.jid"),
-- hot:undo("util.jid"); for a plugin hot:reload("mod_greeter", "localhost"). With
-- `hotreload_patches = "/etc/prosody/patches"` a corrected library is put there
-- (patches/util/jid.lua), and comes before the packaged one.

module:set_global()

local hotreload = require "hotreload"
local modulemanager = require "core.modulemanager"
local pluginloader = require "util.pluginloader"

local commands = module:shared "admin_shell/env"
module:depends "admin_shell"

local patches = module:get_option_string "hotreload_patches"
if patches then package.path = patches .. "/?.lua;" .. package.path end

-- A plugin is no module of `require`: its globals are a table of its own, its chunk runs with an
-- API named `module`. So it gets a name here, "HOST/mod_NAME", and a searcher that runs its file in
-- that same table. What the chunk asks of the API has been done when the plugin was loaded, and
-- must not be done again: meanwhile an API that does nothing is there.
local function quiet_api(api)
  local quiet = {}
  local does_nothing = { "hook", "hook_object_event", "hook_tag", "hook_global", "wrap_event",
    "wrap_object_event", "wrap_global", "unhook", "add_item", "remove_item", "handle_items",
    "provides", "add_timer", "add_feature", "add_identity", "add_extension", "set_global", "daily",
    "hourly", "weekly", "cron" }
  for _, name in ipairs(does_nothing) do quiet[name] = function() end end
  return setmetatable(quiet, { __index = api })
end

local function environment_of(name)
  local host, plugin = name:match "^([^/]+)/mod_(.+)$"
  return host and modulemanager.get_module(host, plugin), plugin
end

local function search_plugin(name)
  local environment, plugin = environment_of(name)
  if not environment then return nil end
  local code, path = pluginloader.load_code(plugin, nil, environment)
  if not code then error(path, 0) end
  return function()
    local api = environment.module
    rawset(environment, "module", quiet_api(api))
    local ok, err = pcall(code)
    rawset(environment, "module", api)
    if not ok then error(err, 0) end
    return environment
  end, path
end

local function name_of(name, host)
  if not host then return name end
  local full = ("%s/%s"):format(host, name)
  package.loaded[full] = environment_of(full) -- what runs
  return full
end

local hot = {}
commands.hot = hot

function hot.changed()
  local names, problems = hotreload.changed()
  local lines = { table.concat(names, " ") }
  for name, message in pairs(problems) do
    lines[#lines + 1] = name .. ": " .. message:match "[^\n]*"
  end
  return true, table.concat(lines, "\n")
end

function hot:dry(name, host)
  local ok, result = gg.reload(name_of(name, host), { dry_run = true })
  if not ok then return false, result end
  for line in tostring(result):gmatch "[^\n]+" do self.session.print(line) end
  return true, "nothing was changed"
end

function hot.reload(_, name, host)
  local ok, result = gg.reload(name_of(name, host))
  if not ok then return false, result end
  return true, result.summary
end

function hot.undo(_, name, host)
  local ok, message = hotreload.undo(name_of(name, host))
  return ok, ok and "undone" or message
end

function module.load()
  table.insert(package.searchers, 2, search_plugin)
  hotreload.changed() -- from now on every change counts
end

function module.unload()
  commands.hot = nil
  for i = #package.searchers, 1, -1 do
    if package.searchers[i] == search_plugin then table.remove(package.searchers, i) end
  end
end
