-- require "hotreload.dev": the whole set-up for development (R12.8). It reloads modules whose files
-- change while the program runs, and prints what became of each.
--
--    require "hotreload.dev"()

local hotreload = require "hotreload"
local watch = require "hotreload.watch"

local error, next, pcall, tostring, type = error, next, pcall, tostring, type
local concat, format, gsub, sort = table.concat, string.format, string.gsub, table.sort
local create, resume, status, yield =
    coroutine.create, coroutine.resume, coroutine.status, coroutine.yield
local clock, debug, stdout = hotreload.clock, debug, io.stdout

-- Instructions between two calls of the debug hook, and seconds between two polls by it.
local INSTRUCTIONS, PAUSE = 1000, 0.01
-- Levels of the stack that are searched for the library's own functions.
local LEVELS = 50
local GREEN, RED = 32, 31

-- The options: the type of each of this module's own, false for those of the watcher.
local OPTIONS = {
    color = "boolean", print = "function", timer = "function",
    clock = false, filter = false, interval = false, most = false, options = false, settle = false,
    together = false,
}

local function print_to_stdout(text)
    stdout:write(text, "\n")
    stdout:flush()
end

local function known_options()
    local names = {}
    for name in next, OPTIONS do names[#names + 1] = name end
    sort(names)
    return concat(names, ", ")
end

--- Takes the options apart: this module's and the watcher's; or nil and what is wrong.
local function options_of(options)
    local own, watched = {}, {}
    if options ~= nil and type(options) ~= "table" then
        return nil, format("table expected, got %s", type(options))
    end
    for key, value in next, options or {} do
        local kind = OPTIONS[key]
        if kind == nil then
            return nil, format("unknown option '%s'; known: %s", tostring(key), known_options())
        elseif kind and type(value) ~= kind then
            return nil, format("option '%s': %s expected, got %s", key, kind, type(value))
        end
        (kind and own or watched)[key] = value
    end
    return own, watched
end

--- Is a function of the library among those that run?
local function is_within_library()
    if hotreload.reloading() then return true end
    for level = 2, LEVELS do
        local info = debug.getinfo(level, "S")
        if not info then return false end
        if info.source == "=hotreload" then return true end
    end
    return false
end

--- Watches the modules that are loaded, from now on.
---@param options? hotreload.DevOptions
---@return hotreload.Dev
return function(options)
    local own, watched = options_of(options)
    local write, color, watcher = print_to_stdout, hotreload.terminal, nil
    local function say(which, text)
        write(color and format("\27[%dm%s\27[0m", which, text) or text)
    end
    if own then
        write = own.print or write
        if own.color ~= nil then color = own.color end
        function watched.on_reload(_, report) say(GREEN, tostring(report)) end
        function watched.on_error(name, message)
            say(RED, format("hotreload: %s: %s", name, message))
        end
        local made
        made, watcher = pcall(watch.new, watched)
        if not made then
            own, watched = nil, gsub(tostring(watcher), "^bad argument #1 to 'new' %((.*)%)$", "%1")
        end
    end
    if not own then error(format("bad argument #1 to 'dev' (%s)", watched), 2) end

    local stopped, thread, hook = false, nil, nil
    local dev = {}

    --- Polls the watcher. Never raises.
    function dev.poll()
        if stopped then return 0, 0 end
        return watcher:poll()
    end

    --- Ends the watching. The loaded modules stay as they are.
    function dev.stop()
        stopped = true
        if hook and debug.gethook(thread) == hook then debug.sethook(thread) end
        hook, thread = nil, nil
    end

    local timer = own.timer
    local function tick()
        if stopped then return end
        dev.poll()
        local ok, message = pcall(timer, PAUSE, tick)
        if not ok then pcall(say, RED, "hotreload: the timer raised: " .. tostring(message)) end
    end

    -- In a coroutine of its own a module's `__hotfix` may yield, and debug hooks run.
    local poller, due
    local function poll_in_thread()
        if stopped or is_within_library() then return end
        due = clock() + PAUSE
        if not poller or status(poller) == "dead" then
            poller = create(function() while true do yield(dev.poll()) end end)
        end
        if status(poller) == "suspended" then resume(poller) end
    end

    local how
    if timer then
        how = "by the timer"
        tick()
    elseif not debug or debug.gethook() then
        how = "when it calls 'poll'" .. (debug and ": it has a debug hook of its own" or "")
    else
        how, due, thread = "by a debug hook", clock(), coroutine.running()
        function hook()
            if clock() >= due then pcall(poll_in_thread) end
        end
        debug.sethook(thread, hook, "", INSTRUCTIONS)
    end
    pcall(write, format("hotreload: watches what the program loads, polled %s", how))
    return dev
end
