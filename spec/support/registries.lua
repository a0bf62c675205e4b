--- Registries: where a module leaves its functions with another module while it is loaded.
--
--    local registries = require "spec.support.registries"
--
-- Each entry of `registries.list` is a table of texts. In them `$event` and `$f` stand for
-- expressions of the event's name and of the function, `$h` for a variable with what the
-- registration returned:
--
--    name       for the spec's name
--    source     the module `bus`; `local bus = {}` comes before it, `return bus` behind
--    register   one registration, a statement
--    handle     true where it is an expression whose value the chunk keeps
--    touch      how the chunk uses that value at once; it raises where no entry answers to it
--    off        how the chunk ends the registration with that value
--    chain      how one statement goes on with the next registration
--    weak       true where the registry keeps no function alive: another place must hold it
--    named      true where a coroutine of the chunk's calls `$f` by its name at each step: one that
--               has begun goes on with its old code, so a function without a name cannot follow
--
-- `ordered` is set where the source goes through no table by `pairs`.
--
-- Each `bus` has `fire(out)`, which calls every function with `out`, and `size()`, which counts
-- what is there. Where the registry keeps a count of its own, `count()` gives it.
--
--    registries.bus(registry)              the text of the module `bus`
--    registries.others(registry)           the text of the module `others` with `fill(from, to)`
--    registries.kinds                      "named", "anonymous", "local", "method"
--    registries.fits(registry, kind)       whether the registry can have functions of that kind
--    registries.module(registry, kind, n)  version n of a module that registers two functions. They
--                                          add "hit vN K" and "quit vN K" to `out`: K counts runs
--    registries.registration(registry, event, f)   one registration
--    registries.off(registry, handle)              its end

local M = {}

M.list = {
  { name = "list by #", source = [[
      local list = {}
      function bus.on(f) list[#list + 1] = f end
      function bus.fire(out) for _, f in ipairs(list) do f(out) end end
      function bus.size() return #list end]],
    register = "bus.on($f)" },

  { name = "list by table.insert", source = [[
      bus.list = {}
      function bus.on(event, f) table.insert(bus.list, { event, f }) end
      function bus.fire(out) for _, pair in ipairs(bus.list) do pair[2](out) end end
      function bus.size() return #bus.list end]],
    register = "bus.on($event, $f)" },

  { name = "list that the chunk writes itself", source = [[
      bus.list = {}
      function bus.fire(out) for _, f in ipairs(bus.list) do f(out) end end
      function bus.size() return #bus.list end]],
    register = "bus.list[#bus.list + 1] = $f" },

  { name = "list with a counter in a field", source = [[
      local list = { n = 0 }
      function bus.on(f) list.n = list.n + 1 list[list.n] = f end
      function bus.fire(out) for i = 1, list.n do list[i](out) end end
      function bus.size() return #list end
      function bus.count() return list.n end]],
    register = "bus.on($f)" },

  { name = "list with a counter in an upvalue", source = [[
      local list, n = {}, 0
      function bus.on(f) n = n + 1 list[n] = f end
      function bus.fire(out) for i = 1, n do list[i](out) end end
      function bus.size() return #list end
      function bus.count() return n end]],
    register = "bus.on($f)" },

  { name = "map from names", source = [[
      local handlers, n = {}, 0
      function bus.on(event, f)
        if not handlers[event] then n = n + 1 end
        handlers[event] = f
      end
      function bus.fire(out) for _, f in pairs(handlers) do f(out) end end
      function bus.size() return count(handlers) end
      function bus.count() return n end]],
    register = "bus.on($event, $f)" },

  { name = "map of lists made on demand", source = [[
      local lists = {}
      function bus.on(event, f)
        lists[event] = lists[event] or {}
        table.insert(lists[event], f)
      end
      function bus.fire(out)
        for _, list in pairs(lists) do for _, f in ipairs(list) do f(out) end end
      end
      function bus.size() return total(lists) end]],
    register = "bus.on($event, $f)" },

  { name = "map of lists made by __index", source = [[
      local lists = setmetatable({}, { __index = function(t, k)
        local list = { n = 0 }
        t[k] = list
        return list
      end })
      function bus.on(event, f) local list = lists[event] list.n = list.n + 1 list[list.n] = f end
      function bus.fire(out)
        for _, list in pairs(lists) do for i = 1, list.n do list[i](out) end end
      end
      function bus.size() return total(lists) end
      function bus.count()
        local k = 0 for _, list in pairs(lists) do k = k + list.n end return k
      end]],
    register = "bus.on($event, $f)" },

  { name = "list kept sorted by table.sort", source = [[
      local list, added = {}, 0
      function bus.on(event, f, priority)
        added = added + 1
        list[#list + 1] = { event = event, f = f, priority = priority, nr = added }
        table.sort(list, function(a, b)
          if a.priority ~= b.priority then return a.priority > b.priority end
          return a.nr < b.nr
        end)
      end
      function bus.fire(out) for _, entry in ipairs(list) do entry.f(out) end end
      function bus.size() return #list end
      function bus.count() return added end]],
    register = "bus.on($event, $f, 5)" },

  { name = "list with insertion by priority", source = [[
      local list = {}
      function bus.on(f, priority)
        local at = 1
        while list[at] and list[at].priority >= priority do at = at + 1 end
        table.insert(list, at, { f = f, priority = priority })
      end
      function bus.fire(out) for _, entry in ipairs(list) do entry.f(out) end end
      function bus.size() return #list end]],
    register = "bus.on($f, 5)" },

  { name = "set", source = [[
      local set = {}
      function bus.on(f) set[f] = true end
      function bus.fire(out) for f in pairs(set) do f(out) end end
      function bus.size() return count(set) end]],
    register = "bus.on($f)" },

  { name = "weak set", weak = true, source = [[
      local set = setmetatable({}, { __mode = "k" })
      function bus.on(f) set[f] = true end
      function bus.fire(out) for f in pairs(set) do f(out) end end
      function bus.size() return count(set) end]],
    register = "bus.on($f)" },

  { name = "map from functions, with a counter", source = [[
      local events, n = {}, 0
      function bus.on(event, f)
        if not events[f] then n = n + 1 end
        events[f] = event
      end
      function bus.fire(out) for f in pairs(events) do f(out) end end
      function bus.size() return count(events) end
      function bus.count() return n end]],
    register = "bus.on($event, $f)" },

  { name = "list with an index from functions", source = [[
      local list, at = {}, {}
      function bus.on(f)
        list[#list + 1] = f
        at[f] = #list
      end
      function bus.fire(out)
        for i, f in ipairs(list) do
          assert(at[f] == i, "the index differs from the list")
          f(out)
        end
      end
      function bus.size() return #list end
      function bus.count() return count(at) end]],
    register = "bus.on($f)" },

  { name = "list of records", source = [[
      local list = {}
      function bus.on(event, f)
        list[#list + 1] = { event = event, f = f, once = true, called = 0 }
      end
      function bus.fire(out)
        for _, entry in ipairs(list) do entry.called = entry.called + 1 entry.f(out) end
      end
      function bus.size() return #list end]],
    register = "bus.on($event, $f)" },

  { name = "list of the chunk's own records", source = [[
      local list = {}
      function bus.add(entry) list[#list + 1] = entry end
      function bus.fire(out) for _, entry in ipairs(list) do entry.run(out) end end
      function bus.size() return #list end]],
    register = "bus.add { event = $event, run = $f }" },

  { name = "list of packed arguments", source = [[
      local list = {}
      local function add(...) list[#list + 1] = table.pack(...) end
      function bus.on(...) return add(...) end
      function bus.fire(out)
        for _, entry in ipairs(list) do entry[2](out, table.unpack(entry, 3, entry.n)) end
      end
      function bus.size() return #list end]],
    register = "bus.on($event, $f, true, nil)" },

  { name = "list of objects with a metatable", source = [[
      local Handler = {}
      Handler.__index = Handler
      local list = {}
      function Handler.new(event, f) return setmetatable({ event = event, f = f }, Handler) end
      function Handler:run(out) self.f(out) end
      function bus.on(event, f) list[#list + 1] = Handler.new(event, f) end
      function bus.fire(out) for _, handler in ipairs(list) do handler:run(out) end end
      function bus.size() return #list end]],
    register = "bus.on($event, $f)" },

  { name = "linked list", source = [[
      local head, n
      function bus.on(f) head = { f = f, next = head } n = (n or 0) + 1 end
      function bus.fire(out) local node = head while node do node.f(out) node = node.next end end
      function bus.size()
        local k, node = 0, head while node do k, node = k + 1, node.next end return k
      end
      function bus.count() return n or 0 end]],
    register = "bus.on($f)" },

  { name = "linked list with a tail", source = [[
      local list = { n = 0 }
      function bus.on(event, f)
        local node = { event = event, f = f, prev = list.tail }
        if list.tail then list.tail.next = node else list.head = node end
        list.tail, list.n = node, list.n + 1
      end
      function bus.fire(out)
        local node = list.head while node do node.f(out) node = node.next end
      end
      function bus.size()
        local k, node = 0, list.tail while node do k, node = k + 1, node.prev end return k
      end
      function bus.count() return list.n end]],
    register = "bus.on($event, $f)" },

  { name = "queue with first and last", source = [[
      local queue = { first = 1, last = 0 }
      function bus.on(f) queue.last = queue.last + 1 queue[queue.last] = f end
      function bus.fire(out) for i = queue.first, queue.last do queue[i](out) end end
      function bus.size() return #queue end
      function bus.count() return queue.last - queue.first + 1 end]],
    register = "bus.on($f)" },

  { name = "heap of timers with ids",
    handle = true, touch = "bus.touch($h)", off = "bus.cancel($h)", source = [[
      local heap, by_id, next_id, now = {}, {}, 0, 100
      local function up(i)
        while i > 1 and heap[i].at < heap[i // 2].at do
          heap[i], heap[i // 2] = heap[i // 2], heap[i]
          i = i // 2
        end
      end
      function bus.every(interval, f)
        next_id = next_id + 1
        local timer = { id = next_id, at = now + interval, interval = interval, f = f }
        heap[#heap + 1], by_id[next_id] = timer, timer
        up(#heap)
        return next_id
      end
      function bus.touch(id) by_id[id].touched = true end
      function bus.cancel(id)
        by_id[id] = nil
        for i, timer in ipairs(heap) do
          if timer.id == id then
            heap[i] = heap[#heap]
            heap[#heap] = nil
            break
          end
        end
        table.sort(heap, function(a, b) return a.at < b.at end)
      end
      function bus.fire(out)
        for i, timer in ipairs(heap) do
          local in_order = i == 1 or heap[i // 2].at <= timer.at
          assert(by_id[timer.id] == timer and in_order, "the heap is damaged")
          timer.f(out)
        end
      end
      function bus.size() return #heap end
      function bus.count() return count(by_id) end]],
    register = "bus.every(5, $f)" },

  { name = "map from ids that are strings",
    handle = true, touch = "bus.touch($h)", off = "bus.off($h)", source = [[
      local by_id, serial = {}, 0
      function bus.on(event, f)
        serial = serial + 1
        local id = event .. "#" .. serial
        by_id[id] = f
        return id
      end
      function bus.touch(id) assert(by_id[id]) end
      function bus.off(id) by_id[id] = nil end
      function bus.fire(out) for _, f in pairs(by_id) do f(out) end end
      function bus.size() return count(by_id) end]],
    register = "bus.on($event, $f)" },

  { name = "two tables under one id",
    handle = true, touch = "bus.touch($h)", off = "bus.off($h)", source = [[
      local functions, events, last = {}, {}, 0
      function bus.on(event, f)
        last = last + 1
        functions[last], events[last] = f, event
        return last
      end
      function bus.touch(id) assert(functions[id] and events[id]) end
      function bus.off(id) functions[id], events[id] = nil, nil end
      function bus.fire(out) for _, f in pairs(functions) do f(out) end end
      function bus.size() return count(functions) end
      function bus.count() return count(events) end]],
    register = "bus.on($event, $f)" },

  { name = "slots with a list of free ones",
    handle = true, touch = "bus.touch($h)", off = "bus.off($h)", source = [[
      local slots, free = {}, { 3, 2 }
      slots[1], slots[4] = print, print
      function bus.on(f)
        local slot = table.remove(free) or #slots + 1
        slots[slot] = f
        return slot
      end
      function bus.touch(slot) assert(slots[slot]) end
      function bus.off(slot) slots[slot] = nil free[#free + 1] = slot end
      function bus.fire(out) for _, f in pairs(slots) do if f ~= print then f(out) end end end
      function bus.size() return count(slots) - 2 end]],
    register = "bus.on($f)" },

  { name = "middleware chain", source = [[
      local chain, n = function() end, 0
      function bus.use(f)
        local previous = chain
        n = n + 1
        chain = function(out)
          f(out)
          return previous(out)
        end
      end
      function bus.fire(out) chain(out) end
      function bus.size() return n end]],
    register = "bus.use($f)" },

  { name = "wrappers around handlers", source = [[
      local list = {}
      function bus.on(event, f)
        list[#list + 1] = function(...)
          local ok, message = pcall(f, ...)
          if not ok then error(event .. ": " .. message) end
        end
      end
      function bus.fire(out) for _, f in ipairs(list) do f(out) end end
      function bus.size() return #list end]],
    register = "bus.on($event, $f)" },

  { name = "wrappers of wrappers in a map", source = [[
      local handlers = {}
      local function traced(f) return function(...) return f(...) end end
      function bus.on(event, f) handlers[event] = traced(traced(f)) end
      function bus.fire(out) for _, f in pairs(handlers) do f(out) end end
      function bus.size() return count(handlers) end]],
    register = "bus.on($event, $f)" },

  { name = "signal objects with connections",
    handle = true, touch = "$h:touch()", off = "$h:disconnect()", source = [[
      local Signal, Connection, signals = {}, {}, {}
      Signal.__index, Connection.__index = Signal, Connection
      function Signal:connect(f)
        local connection = setmetatable({ signal = self, f = f, connected = true }, Connection)
        table.insert(self.connections, connection)
        return connection
      end
      function Connection:touch()
        for _, connection in ipairs(self.signal.connections) do
          if connection == self then return end
        end
        error "no such connection"
      end
      function Connection:disconnect()
        assert(self.connected, "not connected")
        self.connected = false
        for i, connection in ipairs(self.signal.connections) do
          if connection == self then return table.remove(self.signal.connections, i) end
        end
        error "no such connection"
      end
      function bus.signal(event)
        if not signals[event] then signals[event] = setmetatable({ connections = {} }, Signal) end
        return signals[event]
      end
      function bus.fire(out)
        for _, signal in pairs(signals) do
          for _, connection in ipairs(signal.connections) do connection.f(out) end
        end
      end
      function bus.size()
        local k = 0
        for _, signal in pairs(signals) do k = k + #signal.connections end
        return k
      end]],
    register = "bus.signal($event):connect($f)" },

  { name = "closures that end a registration",
    handle = true, off = "$h()", source = [[
      local list = {}
      function bus.on(f)
        local entry = { f }
        list[#list + 1] = entry
        return function()
          for i, other in ipairs(list) do
            if other == entry then return table.remove(list, i) end
          end
          error "not registered"
        end
      end
      function bus.fire(out) for _, entry in ipairs(list) do entry[1](out) end end
      function bus.size() return #list end]],
    register = "bus.on($f)" },

  { name = "builder that returns itself", chain = ":on($event, $f)", source = [[
      bus.handlers, bus.n = {}, 0
      function bus:on(event, f)
        self.n = self.n + 1
        self.handlers[self.n] = { event = event, f = f }
        return self
      end
      function bus.fire(out) for _, handler in ipairs(bus.handlers) do handler.f(out) end end
      function bus.size() return #bus.handlers end
      function bus.count() return bus.n end]],
    register = "bus:on($event, $f)" },

  { name = "record made by one call and filled by the next", source = [[
      local Route, routes = {}, {}
      Route.__index = Route
      function Route:to(f) self.f = f return self end
      function Route:tag(name) self.tags = self.tags or {} self.tags[name] = true return self end
      function bus.route(path)
        local route = setmetatable({ path = path }, Route)
        routes[#routes + 1] = route
        return route
      end
      function bus.fire(out) for _, route in ipairs(routes) do route.f(out) end end
      function bus.size() return #routes end]],
    register = "bus.route($event):to($f):tag 'safe'" },

  { name = "tree of routes", source = [[
      local root, n = {}, 0
      function bus.get(path, f)
        local node = root
        for part in path:gmatch "[^/]+" do
          node[part] = node[part] or {}
          node = node[part]
        end
        if not node[1] then n = n + 1 end
        node[1] = f
      end
      local function visit(node, each)
        for k, v in pairs(node) do if k == 1 then each(v) else visit(v, each) end end
      end
      function bus.fire(out) visit(root, function(f) f(out) end) end
      function bus.size() local k = 0 visit(root, function() k = k + 1 end) return k end
      function bus.count() return n end]],
    register = "bus.get('/game/' .. $event .. '/:id', $f)" },

  { name = "class registry", source = [[
      local classes, names = {}, {}
      function bus.class(name, methods)
        local class = { name = name, methods = methods }
        class.__index = class
        if not classes[name] then names[#names + 1] = name end
        classes[name] = class
        return class
      end
      function bus.fire(out) for _, class in pairs(classes) do class.methods.run(out) end end
      function bus.size() return count(classes) end
      function bus.count() return #names end]],
    register = "bus.class($event, { run = $f })" },

  { name = "command table that raises on duplicates", source = [[
      local commands = {}
      function bus.command(name, f)
        if commands[name] and not require "hotreload".reloading() then
          error("duplicate command " .. name, 2)
        end
        commands[name] = { f = f, help = "" }
      end
      function bus.fire(out) for _, command in pairs(commands) do command.f(out) end end
      function bus.size() return count(commands) end]],
    register = "bus.command($event, $f)" },

  { name = "coroutines in a list", source = [[
      local threads = {}
      function bus.spawn(f)
        threads[#threads + 1] = coroutine.create(function(out)
          while true do
            f(out)
            out = coroutine.yield()
          end
        end)
      end
      function bus.fire(out)
        for _, co in ipairs(threads) do assert(coroutine.resume(co, out)) end
      end
      function bus.size() return #threads end]],
    register = "bus.spawn($f)" },

  { name = "coroutines as keys, made by the chunk", named = true, source = [[
      local threads = {}
      function bus.spawn(f) threads[coroutine.create(f)] = true end
      function bus.fire(out) for co in pairs(threads) do assert(coroutine.resume(co, out)) end end
      function bus.size() return count(threads) end]],
    register = "bus.spawn(function(out) while true do ($f)(out) out = coroutine.yield() end end)" },

  { name = "coroutine.wrap in a map", source = [[
      local tasks = {}
      function bus.task(name, f)
        tasks[name] = coroutine.wrap(function(out)
          while true do
            f(out)
            out = coroutine.yield()
          end
        end)
      end
      function bus.fire(out) for _, task in pairs(tasks) do task(out) end end
      function bus.size() return count(tasks) end]],
    register = "bus.task($event, $f)" },

  { name = "RPC table filled by a loop", source = [[
      local procedures, n = {}, 0
      function bus.export(functions)
        for name, f in pairs(functions) do
          local key = "rpc." .. name
          if not procedures[key] then n = n + 1 end
          procedures[key] = f
        end
      end
      function bus.fire(out) for _, f in pairs(procedures) do f(out) end end
      function bus.size() return count(procedures) end
      function bus.count() return n end]],
    register = "bus.export { [$event] = $f }" },

  { name = "proxy with __newindex", source = [[
      local handlers, order = {}, {}
      bus.handlers = setmetatable({}, { __newindex = function(_, event, f)
        if not handlers[event] then order[#order + 1] = event end
        handlers[event] = f
      end })
      function bus.fire(out) for _, event in ipairs(order) do handlers[event](out) end end
      function bus.size() return count(handlers) end
      function bus.count() return #order end]],
    register = "bus.handlers[$event] = $f" },

  { name = "operator that appends", source = [[
      bus.event = setmetatable({ n = 0 }, { __shl = function(event, f)
        event.n = event.n + 1
        event[event.n] = f
        return event
      end })
      function bus.fire(out) for _, f in ipairs(bus.event) do f(out) end end
      function bus.size() return #bus.event end
      function bus.count() return bus.event.n end]],
    register = "local _ = bus.event << $f" },

  { name = "call that returns the function to call", source = [[
      local lists = {}
      function bus.event(name)
        return function(f)
          local list = lists[name]
          if not list then list = {} lists[name] = list end
          list[#list + 1] = f
        end
      end
      function bus.fire(out)
        for _, list in pairs(lists) do for _, f in ipairs(list) do f(out) end end
      end
      function bus.size() return total(lists) end]],
    register = "bus.event($event)($f)" },

  { name = "list copied at each change", source = [[
      local list = {}
      function bus.on(f)
        local copy = table.move(list, 1, #list, 1, {})
        copy[#copy + 1] = f
        list = copy
      end
      function bus.fire(out) for _, f in ipairs(list) do f(out) end end
      function bus.size() return #list end]],
    register = "bus.on($f)" },

  { name = "map with a log, a version and a cache", source = [[
      local handlers, log, version, cache = {}, {}, 0, nil
      function bus.on(event, f)
        handlers[event] = f
        log[#log + 1] = "registered " .. event
        version, cache = version + 1, {}
      end
      function bus.fire(out)
        cache = cache or {}
        for event, f in pairs(handlers) do
          cache[event] = f
          cache[event](out)
        end
      end
      function bus.size() return count(handlers) end
      function bus.count() return #log == version and #log or -1 end]],
    register = "bus.on($event, $f)" },

  { name = "group with a callback of the chunk", source = [[
      local groups = {}
      function bus.group(name, fill)
        local group = { name = name }
        groups[#groups + 1] = group
        fill { on = function(f) group[#group + 1] = f end }
      end
      function bus.fire(out)
        for _, group in ipairs(groups) do for _, f in ipairs(group) do f(out) end end
      end
      function bus.size()
        local k = 0 for _, group in ipairs(groups) do k = k + #group end return k
      end
      function bus.count() return #groups end]],
    register = "bus.group($event, function(g) g.on($f) end)" },

  { name = "list reached through pcall", source = [[
      local list = { n = 0 }
      function bus.on(event, f)
        if type(event) ~= "string" then error "no name" end
        list.n = list.n + 1
        list[list.n] = f
      end
      function bus.fire(out) for i = 1, list.n do list[i](out) end end
      function bus.size() return #list end
      function bus.count() return list.n end]],
    register = "do local ok, why = pcall(bus.on, $event, $f) if not ok then error(why) end end" },

  { name = "list reached from a callback of string.gsub", source = [[
      local list = { n = 0 }
      function bus.on(event, f) list.n = list.n + 1 list[list.n] = { event = event, f = f } end
      function bus.fire(out) for i = 1, list.n do list[i].f(out) end end
      function bus.size() return #list end
      function bus.count() return list.n end]],
    register = "string.gsub($event, '.+', function(event) bus.on(event, $f) end)" },

  { name = "list reached from a coroutine of the chunk", source = [[
      local list = { n = 0 }
      function bus.on(f) list.n = list.n + 1 list[list.n] = f end
      function bus.fire(out) for i = 1, list.n do list[i](out) end end
      function bus.size() return #list end
      function bus.count() return list.n end]],
    register = "coroutine.wrap(function() bus.on($f) end)()" },

  { name = "list kept by a coroutine of the registry", source = [[
      local function add(list, f) list[#list + 1] = f end
      local server = coroutine.wrap(function(f)
        local list = {}
        while true do
          if f then add(list, f) end
          f = coroutine.yield(list)
        end
      end)
      server()
      function bus.on(f) server(f) end
      function bus.fire(out) for _, f in ipairs(server()) do f(out) end end
      function bus.size() return #server() end]],
    register = "bus.on($f)" },
}

for _, registry in ipairs(M.list) do
  registry.ordered = not registry.source:find "%f[%w]pairs%("
end

-- Texts ------------------------------------------------------------------------------------

local function put(template, parts)
  return (template:gsub("%$(%a+)", parts))
end

function M.registration(registry, event, f)
  return put(registry.register, { event = event, f = f })
end

function M.off(registry, handle)
  return put(registry.off, { h = handle })
end

-- Lua's own `assert` is not the one that a spec sees. `count` and `total` are for `size`.
function M.bus(registry)
  return ([[
    local bus = {}
    local function assert(value, message)
      return value or error(message or "assertion failed", 2)
    end
    local function count(t) local n = 0 for _ in pairs(t) do n = n + 1 end return n end
    local function total(t) local n = 0 for _, list in pairs(t) do n = n + #list end return n end
    %s
    return bus
  ]]):format(registry.source)
end

-- Each function is another one, and has a number of its own in an upvalue.
function M.others(registry)
  local f = "hold(function(out) out.others = (out.others or 0) + 1 sum = sum + i end)"
  return ([[
    local bus = require "bus"
    local sum, held = 0, {}
    local function hold(f) held[#held + 1] = f return f end
    local function called(out) out.others = (out.others or 0) + 1 end
    local others = { hold = hold, called = called }
    function others.fill(from, to) for i = from, to do %s end end
    function others.sum() return sum end
    return others
  ]]):format(M.registration(registry, "('other' .. i)", registry.named and "called" or f))
end

M.kinds = { "named", "anonymous", "local", "method" }

function M.fits(registry, kind)
  return not (kind == "anonymous" and (registry.weak or registry.named)
    or kind == "method" and registry.weak)
end

-- What stands before the registrations, and the function in each. `$event` is "hit" or "quit",
-- COUNT the variable that counts its runs.
local RUN = '(out) COUNT = COUNT + 1 out[#out + 1] = "$event vVERSION " .. COUNT end'
local function run(head, count)
  return ((head .. RUN):gsub("COUNT", count))
end

local KINDS = {
  named = {
    before = "local $events = 0 " .. run("function M.$event", "$events"),
    f = "M.$event",
    total = "hits + quits",
  },
  anonymous = {
    f = run("function", "$events"),
  },
  ["local"] = {
    before = "local $events = 0 " .. run("local function $event", "$events")
      .. " function M.call_$event(out) return $event(out) end",
    f = "$event",
    total = "hits + quits",
  },
  method = {
    first = [[
      local Player = {}
      Player.__index = Player
      M.player = setmetatable({ hits = 0, quits = 0 }, Player)]],
    before = run("function Player:$event", "self.$events"),
    f = "function(out) return M.player:$event(out) end",
    total = "M.player.hits + M.player.quits",
  },
}

function M.module(registry, kind, version)
  local parts, lines = KINDS[kind], {}
  local function add(text, event)
    if text then
      lines[#lines + 1] = (text:gsub("%$event", event or ""):gsub("VERSION", version))
    end
  end
  add(("-- version VERSION\n"):rep(version))
  add 'local bus = require "bus"'
  add "local M = {}"
  add(parts.first)
  add "local hit_handle, quit_handle"
  add(parts.before, "hit")
  add(parts.before, "quit")
  for i, event in ipairs { "hit", "quit" } do
    local template = registry.chain and i > 1 and registry.chain or registry.register
    -- Two variables of one name, each in its block; one statement can't have two blocks.
    local alone = kind == "anonymous" and not registry.chain
    if alone then
      add "do local n = 0"
    elseif kind == "anonymous" and i == 1 then
      add "local hits, quits = 0, 0"
    end
    local f = alone and parts.f:gsub("%$events", "n") or parts.f
    local text = put(template, { event = ("%q"):format(event), f = f })
    add((registry.handle and "$event_handle = " or "") .. text, event)
    if registry.touch then
      add(put(registry.touch, { h = event .. "_handle" }))
    end
    if alone then
      add "end"
    end
  end
  if registry.handle then
    add("function M.off() " .. M.off(registry, "hit_handle") .. " end")
  end
  if parts.total then
    add("function M.total() return " .. parts.total .. " end")
  end
  add "function M.ping() return VERSION end"
  add "return M"
  return table.concat(lines, "\n") .. "\n"
end

return M
