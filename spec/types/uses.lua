-- What a language server has to say of uses of the library: scripts/types.lua compares it with the
-- comments, `--> ` and the names of the diagnostics. A line without such a comment is right. No
-- program runs this file.

local hotreload = require "hotreload"
local watch = require "hotreload.watch"
local dev = require "hotreload.dev"
local console = require "hotreload.console"
local skynet = require "hotreload.hosts.skynet"
local coordinators = require "hotreload.hosts.coordinator"

-- Reloads: what comes back depends on the first result.
local ok, report, refused = hotreload.reload("m", { scope = "vm", data = "merge", strict = true })
if ok then
  print(report.summary, report.functions.replaced, report.paths and report.paths.changed[1])
  print(report.sumary) --> undefined-field
  print(report:upper()) --> undefined-field
else
  print(report:upper(), refused and #refused.conflicts)
  print(report.summary) --> undefined-field
  print(refused.conflicts) --> need-check-nil
end
local all, reports = hotreload.reload({ "m", "n" }, { dry_run = true })
if all then print(reports.summary, reports[1].module) end
local done, result = gg.reload "m"
if done then
  print(result.summary)
  print(result.nothing) --> undefined-field
end
gg.reload() --> missing-parameter
gg.reload(1) --> param-type-mismatch
gg.reload("m", { data = "some" }) --> param-type-mismatch
gg.reload("m", { strict = 1 }) --> param-type-mismatch
gg.safe_reloads.items = true
gg.safe_reloads.items = 1 --> assign-type-mismatch
hotreload.relaod "m" --> undefined-field

---@type hotreload.Options
local options = { scope = "vm" }
options.data = "replace"
options.scop = "vm" --> inject-field
gg.reload("m", options)

-- Functions that give nil and a message.
local text, why = hotreload.plan("m", { color = "auto" })
if text then print(text:upper()) else print(why:upper()) end
print(text.len) --> need-check-nil
local version = hotreload.version "m"
print(version.generation) --> need-check-nil
if version then print(#version.undone, version.file) end
for _, each in ipairs(hotreload.version()) do print(each.module, each.differs) end
local old = hotreload.stale({ paths = true })
if old then
  local first = assert(old[1])
  print(first.line, first.paths and #first.paths)
  print(first.lines) --> undefined-field
end
local undone, message = hotreload.undo({ "m", "n" }, 2)
if not undone then print(message:upper()) end
hotreload.undo("m", "2") --> param-type-mismatch
local swept, progress = hotreload.sweep(1)
if swept ~= nil then print(progress.passes) end
hotreload.configure { allow = "^game%.", log = function(level, line) print(level, line) end }
hotreload.configure { history = "3" } --> assign-type-mismatch
local names, problems = hotreload.changed { quick = true }
print(names[1], problems[names[1]])

-- Watchers.
local watcher = watch.new {
  interval = 0.1, on_reload = function(name, of) print(name, of.summary) end,
}
watcher:poll()
watcher.poll() --> missing-parameter
watcher:pol() --> undefined-field
watch.new { settle = "soon" } --> param-type-mismatch
local set_up = dev { color = true, timer = function(seconds, f) print(seconds, f) end }
set_up.stop()
set_up.halt() --> undefined-field
dev { timer = 1 } --> param-type-mismatch

-- The console.
local carried_out, answer = console.run "reload m"
print(carried_out, answer:upper())
console.run(nil) --> param-type-mismatch
local session = console.session { token = "0123456789abcdef" }
print((session:feed "help\n"))
console.session {} --> missing-fields, param-type-mismatch
console.session { token = 1 } --> assign-type-mismatch

-- Hosts.
local carried, told = skynet.run("m", "plan")
print(carried, told:upper())
skynet.runn "m" --> undefined-field
local request, wrong = coordinators.command { "m" }
print(request and request.names, wrong)
coordinators.new() --> missing-parameter
