---@meta hotreload
---@diagnostic enable: type-not-found, undefined-doc-param, duplicate-doc-field, doc-syntax-error
-- The types of the public API, for editors that read LuaCATS annotations. No program runs this
-- file. A number such as R9.4 is a rule of docs/semantics/.

---What `gg.reload` takes besides the module's name. Any other name, type or value raises a Lua
---argument error.
---@class (exact) hotreload.Options
---@field scope? "module"|"vm"    whose references become new: the module's, or all (R9)
---@field budget_ms? number       with `scope = "vm"`: in slices, see `hotreload.sweep` (R9.4)
---@field on_conflict? "error"|"keep"|"replace"  another kind of value than the program has (R6)
---@field data? "keep"|"merge"|"replace"  which data take the file's values (R8)
---@field constants? "follow"|"keep"  whether locals that nothing assigns are the file's (R4.7)
---@field patches? "replace"|"keep"  other modules' functions over the module's own (R3.5)
---@field wrappers? "follow"|"drop"  those that have the module's function inside (R3.5)
---@field rename? table<string, string>  names, old to new: locals, fields, definitions (R4.1)
---@field strict? boolean          every warning is a refusal (R10)
---@field removed? "keep"|"drop"  whether functions that the file takes out stay (R5.2)
---@field dependents? boolean      also the modules that require these (R12.7)
---@field from? string  the module whose state a module that is not loaded takes over (R1.11)
---@field migrate? hotreload.Migrate|table<string|table, hotreload.Migrate>  of objects (R14.2)
---@field source? string          the module's new text, instead of its file's
---@field dry_run? boolean        say what would happen, change nothing
---@field report? "counts"|"full"  `"full"`: lists of paths besides the counts
---@field text_only? boolean      binary chunks are refused (R1.8)

---How a class has changed, for the migration of its objects (R14.2).
---@class hotreload.Change
---@field added string[]       names that the class got
---@field removed string[]     names of functions that its file lacks now
---@field generation integer   of the module, before the reload

---@alias hotreload.Migrate fun(object: any, change: hotreload.Change)

---@class hotreload.FunctionCounts
---@field replaced integer  not those that stay the objects that they are (R3.6)
---@field added integer
---@field removed integer   functions that the file lacks now; they stay
---@field dropped integer   functions that the file lacks now; they go

---@class hotreload.CellCounts
---@field joined integer    upvalues that keep their values
---@field fresh integer     upvalues that only the file has

---@class hotreload.DataCounts
---@field kept integer
---@field added integer
---@field replaced integer  constants, and with `data` what was overwritten or taken out
---@field differing integer  of those kept: data that only the file has changed

---Calls that register something of the file with other modules (R5.5). The lists of paths have
---texts for them, such as `bus.on("hit", chat.on_hit)`.
---@class hotreload.CallCounts
---@field repeated integer      made before: the call is taken back, the handler has the file's code
---@field new integer           made for the first time
---@field gone integer          no longer made; what they registered stays
---@field irrevocable integer   C functions not of Lua's standard library, which run again

---A place with another kind of value in the file than while the program runs.
---@class hotreload.Conflict
---@field path string       such as `M.handlers.login`
---@field running string    the type that the running program has there
---@field file string       the type that the file has there
---@field running_value? string  the program's value, such as `number 5` or `table of 3 entries`
---@field file_value? string     the file's value
---@field matched string    why the two are compared, such as `by place` or `by name` (R10.6)
---@field line? integer     the line in the file

---Milliseconds, by phase.
---@class hotreload.Elapsed
---@field find number
---@field load number
---@field pair number
---@field plan number
---@field commit number
---@field sweep number   with `scope = "vm"`
---@field total number

---Sorted lists, with `report = "full"` and in a dry run. A path is a field (`M.a.b`, `M.list[1]`,
---`M["odd key"]`), a global (`_G.Player.f`), an upvalue (`M.dump@helper`) or a field of a metatable
---(`M<metatable>.__call`).
---@class hotreload.Paths
---@field functions { replaced: string[], added: string[], removed: string[], dropped: string[] }
---@field changed string[]
---@field cells { joined: string[], fresh: string[] }
---@field data { kept: string[], added: string[], replaced: string[], differing: string[] }
---@field calls { repeated: string[], new: string[], gone: string[], irrevocable: string[] }
---@field wrappers string[]   such as `M.f: the function of profiler.lua:7 stays around it`
---@field patches string[]    such as `M.f: the function of fixes.lua:3 gives way`
---@field matched string[]    such as `M.enter: M.login before, by likeness`

---One generation of a module (R13).
---@class hotreload.Version
---@field generation integer
---@field file? string       what it was loaded from
---@field content? integer   the digest of that text, as in `hotreload.changed`
---@field time? integer      when a reload loaded it, as `os.time` gives it

---What a reload did, or would do. Plain data; `tostring(report)` is the summary, and further lines
---if there is more to say. A list of reports has a summary and a text as well.
---@class hotreload.Report
---@field module string
---@field file? string          the path, or what a custom searcher gave; nil from `package.preload`
---@field generation integer    1 is the first load; in a dry run the one that there would be
---@field from? hotreload.Version  what ran before; nil in a first load
---@field to hotreload.Version  what runs now, or would
---@field summary string        what happened, in one line; computed when it is read
---@field dry_run? boolean      true in a dry run
---@field refused boolean       nothing was changed
---@field functions hotreload.FunctionCounts
---@field changed integer       those of the replaced functions whose code differs
---@field cells hotreload.CellCounts
---@field data hotreload.DataCounts
---@field calls hotreload.CallCounts
---@field wrappers integer  other modules' functions that stay around the module's own (R3.5)
---@field patches integer  other modules' functions in the place of the module's own (R3.5)
---@field references integer    with `scope = "vm"`: references elsewhere that were changed
---@field stale integer         with `scope = "vm"`: old functions that stay; the warnings say why
---@field warnings string[]
---@field limits string[]       what was not looked at, as there is too much of it
---@field conflicts hotreload.Conflict[]
---@field elapsed_ms hotreload.Elapsed
---@field paths? hotreload.Paths

---The reports of a list of modules, in the same order.
---@class hotreload.Reports
---@field [integer] hotreload.Report
---@field summary string   a line for each

---Functions of a host around each chunk that a reload runs, dry or not (R2.6). Each gets the
---module's name, and may not yield. If one raises an error, the reload is refused. What they change
---is not put back.
---@class (exact) hotreload.ChunkHooks
---@field before? false|fun(name: string)   before the chunk
---@field after? false|fun(name: string)    after the chunk, even if it failed

---What `hotreload.configure` takes: which modules may be reloaded, by Lua patterns over the
---module's name, and what is called around every reload. Each key replaces its former value;
---`false` removes a function.
---@class (exact) hotreload.Configuration
---@field allow? string|string[]  if there are any, one of them must match
---@field deny? string|string[]  none of them may match
---@field text_only? boolean  binary chunks are refused, whatever a call says (R1.8)
---@field history? integer  how many reloads of each module can be undone; 1
---@field before? false|fun(name: string, plan: hotreload.Report): boolean? `false` refuses
---@field after? false|fun(name: string, report: hotreload.Report)  when a reload is done
---@field on_error? false|fun(name: string, message: string)  when a reload failed or was refused
---@field log? false|fun(level: "info"|"warning"|"error", message: string)  a line for each of these
---@field chunk? false|hotreload.ChunkHooks  around each chunk that a reload runs (R2.6)
---@field skip? table[]  no walk enters these tables, no load puts them back; may be weak (R2.11)

---@class hotreload
---@field _VERSION string
---@field terminal boolean   standard output is a terminal
local hotreload = {}

---Gives the running module the code of its file, and keeps its data.
---A module that is not loaded yet is loaded, but not another spelling of a loaded one's name.
---
---Returns `true` and a report. Or returns `false`, a message and, if there are conflicts, the
---report; nothing is changed then.
---
---A list of names is one transaction (R7.4): all or none. For a list, and with `dependents = true`,
---the result is a list of reports. An empty list raises an error.
---
---    local ok, report = gg.reload "battle.skill"
---    print(ok and report.summary or report)
---
---    assert(gg.reload({ "battle.skill", "battle.buff" }, { scope = "vm" }))
---@param name string
---@param options? hotreload.Options
---@return boolean ok
---@return hotreload.Report|string result
---@return hotreload.Report? report
---@return_overload true, hotreload.Report
---@return_overload false, string, hotreload.Report?
---@overload fun(names: string[], options?: hotreload.Options): true, hotreload.Reports
---@overload fun(names: string[], options?: hotreload.Options): false, string, hotreload.Reports?
function hotreload.reload(name, options) end

---Whose chunk is running for a reload, and whether that reload is dry (R2.6). `nil` at any other
---time: while `require` loads a module, in a first load by `gg.reload`, and in hooks.
---
---    if not hotreload.reloading() then server.listen(8000) end
---@return string? name
---@return boolean? dry
function hotreload.reloading() end

---The progress of a sweep (R9.4).
---@class hotreload.Progress
---@field objects integer      objects that this pass has looked at
---@field waiting integer      objects that are known to wait
---@field passes integer       passes that have ended
---@field references integer   places that hold something new
---@field stale integer        old functions that stay
---@field warnings string[]    keys that collided, why functions stay, what was not looked at

---Continues the sweep of a reload that had `budget_ms`: one slice of about so many milliseconds, or
---all of it. The sweep is done when a whole pass found nothing to change, or, with a warning, after
---16 passes. Returns nil and a message if the sweep cannot continue now.
---
---    repeat tick() until hotreload.sweep(2)
---@param budget_ms? number
---@return boolean? done
---@return hotreload.Progress|string progress
---@return_overload boolean, hotreload.Progress
---@return_overload nil, string
function hotreload.sweep(budget_ms) end

---A function of an older generation that is still alive (R11).
---@class hotreload.Stale
---@field module string
---@field generation? integer  nil if that is more than two reloads ago
---@field name? string  the name under which something holds it
---@field line integer  of the text that it was compiled from
---@field running? boolean  a coroutine is in the midst of it
---@field paths? string[]  with `paths = true`: its references, or the coroutine that is in it

---What `hotreload.stale` takes.
---@class (exact) hotreload.StaleOptions
---@field paths? boolean   also where each is referenced from; this is slow

---Lists the functions that still run old code (R11), of one module or of all that were reloaded.
---Keeps nothing alive.
---
---    for _, old in ipairs(hotreload.stale "battle" or {}) do print(old.name, old.line) end
---@param name? string
---@param options? hotreload.StaleOptions
---@return hotreload.Stale[]? list
---@return string? message
---@return_overload hotreload.Stale[]
---@return_overload nil, string
---@overload fun(options: hotreload.StaleOptions): hotreload.Stale[]?, string?
function hotreload.stale(name, options) end

---Which version of a module runs, and whether its file differs (R13).
---@class hotreload.Running : hotreload.Version
---@field module string
---@field differs? boolean              the file says something else now; nil without a file
---@field problem? string               why the file cannot be loaded
---@field undone hotreload.Version[]    the reloads undone since the last reload, the latest first

---Tells which version of a module runs, or lists that for all modules that a reload has seen (R13).
---Returns `nil` and a message for a module that is not loaded.
---
---    local version = assert(hotreload.version "battle")
---    print(version.generation, version.file, version.differs)
---@param name string
---@return hotreload.Running? version
---@return string? message
---@return_overload hotreload.Running
---@return_overload nil, string
---@overload fun(): hotreload.Running[]
function hotreload.version(name) end

---Lists the live objects of a class (R14.1). With a budget it does one slice of the walk, and
---returns `false` if the walk is not finished. Returns `nil` and a message if the walk cannot be
---done.
---@param class table
---@param budget_ms? number
---@return any[]|false|nil list
---@return string? message
---@return_overload any[]|false
---@return_overload nil, string
function hotreload.instances(class, budget_ms) end

---The names among `known` that somebody may have meant, the nearest first: three at most.
---@param name string
---@param known string[]
---@return string[]
function hotreload.near(name, known) end

---The loaded modules that require this one, directly or not, each after those that it requires.
---@param name string
---@return string[]
function hotreload.dependents(name) end

---Gives up a module's undo, and lists what still holds or runs old code (R13). With `"soft"`, a
---list that is not empty keeps the undo: the function returns `false`, a message, and the list.
---@param name string
---@param how? "soft"
---@return boolean ok
---@return hotreload.Stale[]|string result
---@return hotreload.Stale[]? list
---@return_overload true, hotreload.Stale[]
---@return_overload false, string, hotreload.Stale[]?
function hotreload.purge(name, how) end

---Undoes the last reload of a module (R7.3): functions, cells and what was added, registrations
---with other modules among it. Data that changed since stays. Once for each reload; `false` and a
---message if there is nothing to undo. A list of names is one transaction; so are several steps.
---
---    assert(hotreload.undo "battle.skill")
---@param names string|string[]
---@param steps? integer   how many reloads of each module; 1
---@return boolean ok
---@return string? message   with `true`: a hook failed after the undo
---@return_overload true, string?
---@return_overload false, string
function hotreload.undo(names, steps) end

---Says which modules may be reloaded, and what is called around each reload.
---
---    hotreload.configure { allow = "^game%.", log = function(level, text) print(level, text) end }
---@param configuration hotreload.Configuration
function hotreload.configure(configuration) end

---What `hotreload.plan` takes: the options of a reload, but for `dry_run` and `report`.
---@class (exact) hotreload.PlanOptions : hotreload.Options
---@field color? boolean|"auto"   with colours; `"auto"`: when standard output is a terminal

---Returns a text of what a reload would do, or, for a report, of what that reload has done. Nothing
---is changed. Conflicts are shown. Returns `nil` and a message if the module cannot be reloaded.
---
---    print(hotreload.plan("battle.skill", { color = "auto" }))
---@param what string|hotreload.Report   a module's name, or a report
---@param options? hotreload.PlanOptions
---@return string? text
---@return string? message
---@return_overload string
---@return_overload nil, string
function hotreload.plan(what, options) end

---Selects the modules that get a record of their file's values when `require` loads them (R8).
---`data = "merge"` needs it, and without it a key that the program removes before the first reload
---comes back. Without a call, all modules get one; the last call counts.
---@param patterns? boolean|string|string[]   over the module's name; true: all modules; false: none
---@return boolean ok
---@return string? message
---@return_overload true
---@return_overload false, string
function hotreload.track(patterns) end

---For a host whose `require` asks no searcher: returns a loader that calls this one, and takes the
---record of the module. Returns the loader itself for a module that is not tracked.
---@param name string      the module's name
---@param loader function  gets the name and the loader data, and may wait
---@return function
function hotreload.tracked(name, loader) end

---What `hotreload.changed` takes.
---@class (exact) hotreload.ChangedOptions
---@field names? string[]     only these modules; by default all that are loaded
---@field quick? boolean      skip files whose path, size and times have not changed

---Lists the loaded modules whose files differ from what runs, by content (R12).
---
---Returns a sorted list of names; a message for each module whose file is missing, unreadable or
---broken; a digest of each file, which is valid in this Lua state only; and a message for each
---module of which not all functions were compared.
---
---    local names, problems = hotreload.changed()
---    if names[1] and not next(problems) then gg.reload(watch.order(names)) end
---@param options? hotreload.ChangedOptions
---@return string[] names
---@return table<string, string> problems
---@return table<string, integer> contents
---@return table<string, string> limits
function hotreload.changed(options) end

---Lists the modules at which `hotreload.changed { quick = true }` has to look: those whose file has
---another size, inode or time than at the last look, and those without such a look (R12.4). It
---costs one system call for each file. It does not search for files.
---
---With `most` it stops when it has looked at so many modules and a millisecond has passed.
---@param after? string   the module after which to go on
---@param most? integer
---@return string[] names   in no order
---@return string? last   the module that it stopped at; nothing if it has looked at all
function hotreload.touched(after, most) end

---Seconds with fractions, of a clock that never goes back. It does not begin at a known time.
---@return number seconds
function hotreload.clock() end

---Lists the modules that a module requires (R12.6): those whose names its text gives to `require`
---as strings, and those that `require` loaded while it loaded this one.
---
---The list is sorted, and empty for a module without a file. Returns `nil` and a message for a name
---that is refused (R1.4) or not found, and for a file that cannot be read.
---@param name string
---@return string[]? names
---@return string? message
---@return_overload string[]
---@return_overload nil, string
function hotreload.requires(name) end

---What `watch.new` takes. Any other name, type or value raises a Lua argument error.
---@class (exact) hotreload.WatchOptions
---@field interval? number  seconds between two looks; 0.04, or 20 times as long as a look takes
---@field settle? number  seconds for which a file must not have changed; 0.04
---@field most? integer  how many modules one poll looks at, and how many it reloads; 250
---@field filter? string|string[]|fun(name: string): boolean  Lua patterns over names, or a function
---@field together? boolean  whether all changed modules are one transaction
---@field options? hotreload.Options  for each reload; not `source` and not `dry_run`
---@field on_reload? fun(name: string, report: hotreload.Report)
---@field on_error? fun(name: string, message: string)  by default writes to stderr
---@field clock? fun(): number  the time in seconds; `hotreload.clock`

---A watcher, made by `watch.new`.
---@class hotreload.Watcher
local Watcher = {}

---For the program's own loop. Looks at the files if the interval has passed, and reloads what
---changed. Never waits and never raises an error.
---@return integer reloaded   how many modules
---@return integer failing    how many cannot be reloaded from their present files
function Watcher:poll() end

---Looks at all files at once.
---@return integer reloaded
---@return integer failing
function Watcher:check() end

---The modules that cannot be reloaded from their present files: name → message.
---@return table<string, string>
function Watcher:failing() end

---What `require "hotreload.watch"` returns.
---@class hotreload.watch
local watch = {}

---Makes a watcher: it reloads modules whose files change, when it is polled (R12.5).
---
---    local watcher = watch.new { filter = "^game%." }
---    while true do tick() watcher:poll() end
---@param options? hotreload.WatchOptions
---@return hotreload.Watcher
function watch.new(options) end

---Sorts names so that each module comes after those that it requires, as far as its text gives
---their names to `require` as strings.
---@param names string[]
---@return string[]
function watch.order(names) end

---What `require "hotreload.dev"` takes. Any other name, type or value raises a Lua argument error.
---@class (exact) hotreload.DevOptions
---@field timer? fun(seconds: number, f: fun())   must call `f` once, that much later
---@field print? fun(text: string)   by default writes to standard output
---@field color? boolean      with colours; `hotreload.terminal`
---@field interval? number    as in `hotreload.WatchOptions`, like all below
---@field settle? number
---@field most? integer
---@field filter? string|string[]|fun(name: string): boolean
---@field together? boolean
---@field options? hotreload.Options
---@field clock? fun(): number

---What `require "hotreload.dev"()` returns.
---@class hotreload.Dev
---@field poll fun(): integer, integer   as `Watcher:poll`
---@field stop fun()                     ends it: removes the debug hook, sets no more timers

---What `require "hotreload.dev"` returns: the whole set-up for development (R12.8). It watches the
---loaded modules and prints each reload and each failure.
---
---    require "hotreload.dev"()
---@alias hotreload.dev fun(options?: hotreload.DevOptions): hotreload.Dev

---What `console.session` takes. Any other name, type or value raises a Lua argument error.
---@class (exact) hotreload.SessionOptions
---@field token string                  the first line of a connection: 16 characters or more
---@field options? hotreload.Options    of each reload and plan

---One connection to the console, made by `console.session`.
---@class hotreload.Session
local Session = {}

---Takes what the connection has received. Returns what is to be sent, and whether the connection
---stays open. May yield if a hook does.
---
---    local answer, open = session:feed(bytes)
---    connection:send(answer)
---    if not open then connection:close() end
---@param bytes string
---@return string answer
---@return boolean open
function Session:feed(bytes) end

---What `require "hotreload.console"` returns: commands of one line, and their answers (R12.9).
---@class hotreload.console
local console = {}

---Carries out a command such as `reload battle.skill scope=vm`. The value is a list: of reports, of
---names, or what `hotreload.stale` lists; nil if there is only a message.
---
---    local ok, text = console.run "plan battle.skill"
---@param command string|string[]
---@param options? hotreload.Options   of each reload and plan
---@return boolean ok
---@return string text
---@return any[]? value
function console.run(command, options) end

---Makes the state of one connection, whose first line must be the token.
---
---    local session = console.session { token = os.getenv "HOTRELOAD_TOKEN" }
---@param settings hotreload.SessionOptions
---@return hotreload.Session
function console.session(settings) end

---What stands in for a function of an engine while a reload runs a chunk (docs/hosts.md).
---@alias hotreload.hosts.Way "wait"|"once"|"later"|fun(real: function, ...: any): ...any

---What `require "hotreload.hosts.common"` returns: what services must not do twice.
---@class hotreload.hosts.common
local common = {}

---Puts functions in front of those of an engine's table.
---@param module table
---@param title string   as which messages name the table
---@param how table<string, hotreload.hosts.Way>
function common.stand_in(module, title, how) end

---Loads the library and tells it of this host. What chunks left out before is forgotten.
---@param shared table[]   tables that no walk enters
---@param cache? hotreload.hosts.Cache   no chunk loads from it
---@return hotreload
function common.attach(shared, cache) end

---What chunks have left out since `attach`.
---@return string[]
function common.left_out() end

---Makes the calls that new dependencies kept for later. May wait.
function common.run_kept() end

---For an agent: holds new messages back.
---@param protocols fun(): table<any, { dispatch: function? }>
---@param of string[]        the protocols that are held
---@param wait fun()         lets a message's coroutine wait
---@param wakeup fun(co: thread)
---@return hotreload.hosts.Host
function common.barrier(protocols, of, wait, wakeup) end

---The script that calls it: the outermost main chunk.
---@return { name: string, path: string }?
function common.script() end

---The value of an upvalue of that name: of the function, or of those in its upvalues.
---@param f function
---@param wanted string
---@param depth? integer   3
---@return any
function common.upvalue(f, wanted, depth) end

---An engine's cache of compiled files, as skynet has it: in front of `loadfile`, for all states.
---@class hotreload.hosts.Cache
---@field mode fun(mode?: string): string   "OFF" reads files in this state; returns the mode

---What an agent has to know of its service.
---@class hotreload.hosts.Host
---@field now? fun(): number           a clock that services and coordinator share
---@field script? fun(): { name: string, path: string, object: any }?
---@field shared? fun(): table[]       tables that no walk enters
---@field hold? fun()                  holds new messages back
---@field release? fun()               lets them go on
---@field cache? hotreload.hosts.Cache  has to be emptied by the coordinator's `commit`
---@field before? fun()                before a reload, which may come while messages are held
---@field after? fun()                 after it

---A request or an answer: plain data.
---@alias hotreload.hosts.Message table<string, any>

---What `require "hotreload.hosts.agent"` returns.
---@class hotreload.hosts.agents
local agents = {}

---A service's agent: a function that answers requests and never raises. It waits where hooks do.
---@param host? hotreload.hosts.Host
---@return fun(request: hotreload.hosts.Message): hotreload.hosts.Message
function agents.new(host) end

---Loads the library for a service that calls `gg.reload` itself, and makes its script a module.
---@param host hotreload.hosts.Host
---@return hotreload
function agents.attach(host) end

---@class hotreload.hosts.Target
---@field address any
---@field title string

---The way to the services of a node, or to the nodes of a fleet.
---@class hotreload.hosts.Transport
---@field list fun(): hotreload.hosts.Target[]
---@field ask fun(address: any, seconds: number, request: table): table?, string?
---@field all fun(functions: function[])   runs them side by side, returns when all have ended
---@field now fun(): number                seconds

---What `coordinators.transport` needs.
---@class hotreload.hosts.Engine
---@field list fun(): hotreload.hosts.Target[]
---@field call fun(address: any, request: table): table?, string?   may raise
---@field fork fun(f: function)            runs it on a coroutine of its own
---@field sleep fun(seconds: number)       until `wakeup` is called for its coroutine, at most
---@field wakeup fun(co: thread)
---@field now fun(): number                seconds

---@class hotreload.hosts.Summary
---@field ok boolean
---@field action string
---@field names string[]
---@field outcome string      begins with `done`, `refused`, `undone` or `failed`
---@field services integer    how many have the modules
---@field messages { kind: "error"|"note"|"text", text: string, titles: string[] }[]
---@field elapsed number      seconds

---What `require "hotreload.hosts.coordinator"` returns.
---@class hotreload.hosts.coordinators
---@field USAGE string
local coordinators = {}

---@class hotreload.hosts.Coordinator
local Coordinator = {}

---Makes a coordinator.
---@param transport hotreload.hosts.Transport
---@param settings? { commit: fun()?, nodes: boolean? }
---@return hotreload.hosts.Coordinator
function coordinators.new(transport, settings) end

---Makes a transport of what an engine has.
---@param engine hotreload.hosts.Engine
---@return hotreload.hosts.Transport
function coordinators.transport(engine) end

---Makes a coordinator of several nodes.
---@param engine hotreload.hosts.Engine   of the node that takes the commands
---@param names string[]                  the nodes
---@param reach fun(name: string, request: table): table?, string?   brings a request to a node
---@return hotreload.hosts.Coordinator
function coordinators.fleet(engine, names, reach) end

---Runs a command of words; may wait.
---@param coordinator hotreload.hosts.Coordinator
---@param words string[]
---@param who string                  for the message that a second caller gets
---@param tell? fun(text: string)     gets the progress
---@return boolean ok
---@return string text
function coordinators.execute(coordinator, words, who, tell) end

---A request of the words of a command; or nil and what is wrong.
---@param words string[]
---@return hotreload.hosts.Message? request
---@return string? message
function coordinators.command(words) end

---A summary as a text.
---@param summary hotreload.hosts.Summary
---@return string
function coordinators.text(summary) end

---Does what a request says; may wait.
---@param request hotreload.hosts.Message
---@param tell? fun(text: string)
---@return boolean ok
---@return hotreload.hosts.Summary summary
function Coordinator:run(request, tell) end

---Answers a request of a coordinator of several nodes, as an agent does.
---@param request hotreload.hosts.Message
---@return hotreload.hosts.Message
function Coordinator:answer(request) end

---What is going on, as a text.
---@return string
function Coordinator:status() end

---What `require "hotreload.hosts.skynet"` returns, in a service of skynet.
---@class hotreload.hosts.skynet
local skynet = {}

---Starts the coordinator as a service of its own; may wait. Returns its address.
---@return integer
function skynet.launch() end

---Makes this service the coordinator, under the name `.hotreload`.
function skynet.coordinate() end

---Runs a command, from any service; may wait.
---@param ... string
---@return boolean ok
---@return string text
function skynet.run(...) end

---In the coordinator: its commands are about these nodes.
---@param names string[]
---@param reach? fun(name: string, request: table): table?, string?   `skynet.cluster` without it
function skynet.fleet(names, reach) end

---Loads the library for a service that calls `gg.reload` itself, and makes its script a module.
---@return hotreload
function skynet.attach() end

---In the state of a debug console: gives it the command `hotreload`. Returns whether it has it.
---@return boolean
function skynet.console() end

---What `require "hotreload.hosts.moon"` returns, in a service of moon.
---@class hotreload.hosts.moon
local moon = {}

---Makes this service the coordinator of its node, and returns that.
---@return hotreload.hosts.Coordinator
function moon.coordinate() end

---Runs a command in the node's coordinator; may wait.
---@param ... string
---@return boolean ok
---@return string text
function moon.run(...) end

---Answers a request of another node that is about this one; may wait.
---@param request hotreload.hosts.Message
---@return hotreload.hosts.Message
function moon.answer(request) end

---In the service that coordinates: its commands are about these nodes.
---@param names any[]
---@param reach fun(name: any, request: table): table?, string?   brings a request to a node
function moon.fleet(names, reach) end

---Loads the library for a service that calls `gg.reload` itself, and makes its script a module.
---@return hotreload
function moon.attach() end

---What `require "hotreload.hosts.silly"` returns, in silly.
---@class hotreload.hosts.silly
local silly = {}

---Runs a command; may wait.
---@param ... string
---@return boolean ok
---@return string text
function silly.run(...) end

---A command for `silly.console`. Its text begins with `ERR` if it was not carried out.
---@param fd any
---@param ... string
---@return string
function silly.console(fd, ...) end

---Answers a request of another process that is about this one.
---@param request hotreload.hosts.Message
---@return hotreload.hosts.Message
function silly.answer(request) end

---Lets commands be about several processes.
---@param names string[]
---@param reach fun(name: string, request: table): table?, string?   brings a request to one
function silly.fleet(names, reach) end

---Loads the library for a program that calls `gg.reload` itself, and makes its script a module.
---@return hotreload
function silly.attach() end

---The function `__hotfix` of a module: a field of the table that it returns, or a global function.
---It is called after each `gg.reload` of the module, with what `package.loaded` holds (`true` for a
---module that returns nothing). It may yield. If it raises an error, the reload is undone. If the
---field `__hotfix_undo` of the module is true, it is called after an undo as well. `kept` is what
---`__unload` of the former generation returned.
---@alias hotreload.Hook fun(module: any, report: hotreload.Report|hotreload.UndoReport, kept: any)

---The function `__unload` of a module, called before its reload. If it returns `false` or raises an
---error, the reload is refused (R7.8).
---@alias hotreload.Unload fun(module: any, report: hotreload.Report): any

---What a hook gets after an undo (R7.3).
---@class hotreload.UndoReport : hotreload.Report
---@field undo true

---The global table `gg`: whatever else a server keeps there, `reload` and this.
---@class gg
---@field safe_reloads table<string, boolean>  modules of data: `true` means `data = "replace"`
gg = gg or {}
gg.reload = hotreload.reload

return hotreload
