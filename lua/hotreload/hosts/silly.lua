-- require "hotreload.hosts.silly": hotreload in silly, which has one Lua state in each process.
--
--    -- in the main script, before it requires what is to be hot
--    local hot = require "hotreload.hosts.silly"
--    require "silly.console" { addr = "127.0.0.1:8000", cmd = { hotreload = hot.console } }

local common = require "hotreload.hosts.common"
local silly = require "silly"
local task = require "silly.task"
local time = require "silly.time"

---@type hotreload.hosts.silly
local adapter = {}

local function now() return time.monotonic() / 1000 end

local script = common.script()

common.stand_in(task, "task", { wait = "wait", fork = "once", wakeup = "once" })
common.stand_in(time, "time", { sleep = "wait", after = "once", cancel = "once" })
common.stand_in(silly, "silly", { exit = "once" })
-- Whoever is loaded after this listens and connects through these.
common.stand_in(require "silly.net", "net", {
    tcplisten = "once", udpbind = "once", tcpconnect = "wait", udpconnect = "wait",
})

local agents = require "hotreload.hosts.agent"
local host = { now = now, script = function() return script end }
local agent = agents.new(host)

--- Loads the library, where the program calls gg.reload itself: the main script is a module then.
---@see hotreload.hosts.silly in meta.lua
function adapter.attach() return agents.attach(host) end

local coordinators = require "hotreload.hosts.coordinator"

local engine = {
    now = now,
    list = function() return { { address = silly.pid, title = "silly" } } end,
    call = function(_, request) return agent(request) end,
    fork = task.fork,
    sleep = function(seconds)
        local running = task.running()
        local timer = time.after(seconds * 1000 // 1 | 0, function()
            if task.status(running) == "WAIT" then task.wakeup(running) end
        end)
        task.wait()
        time.cancel(timer)
    end,
    wakeup = function(co)
        if task.status(co) == "WAIT" then task.wakeup(co) end
    end,
}

local process, nodes = coordinators.new(coordinators.transport(engine)), nil

--- Runs a command; may wait. Returns whether it was carried out, and a text.
---@see hotreload.hosts.silly in meta.lua
function adapter.run(...)
    return coordinators.execute(nodes or process, { ... }, "process " .. silly.pid)
end

--- A command for silly.console; its text begins with `ERR` where it was not carried out.
---@see hotreload.hosts.silly in meta.lua
function adapter.console(_, ...)
    local ok, text = adapter.run(...)
    return ok and text or "ERR " .. text
end

--- Answers a request of another process that is about this one.
---@see hotreload.hosts.silly in meta.lua
function adapter.answer(request) return process:answer(request) end

--- Lets commands of this process be about these: `reach(name, request)` hands a request to the
--- process of that name, whose `answer` answers it, and returns that.
---@see hotreload.hosts.silly in meta.lua
function adapter.fleet(names, reach) nodes = coordinators.fleet(engine, names, reach) end

return adapter
