-- A program whose module is corrected while it runs. The argument is the corrected file; the old
-- one lies in the current directory.
gg = gg or {}
require "reload"

local corrected = ...

local function deploy(from, to)
    local source = assert(io.open(from, "rb"))
    local target = assert(io.open(to, "wb"))
    target:write(source:read("a"))
    source:close()
    target:close()
end

local moduleName = "TestReload"
local t = require(moduleName)
t.data1 = 2
t.data6.k1 = 2
t.changeUpValue("new upvalue")
print("=========before the hotfix=========")
t.func1()
t.func2()
t.data6:func1()
t:dump()

deploy(corrected, "TestReload.lua")

print("=========what the hotfix would do=========")
local _, plan = assert(gg.reload(moduleName, { dry_run = true }))
for _, kind in ipairs { "replaced", "added", "removed" } do
    for _, path in ipairs(plan.paths.functions[kind]) do
        print(kind, path)
    end
end
t.func1()

print("=========after the hotfix=========")
assert(gg.reload(moduleName))
t.func1()
t.func1()
t.func2()
t.func3()
t.func2()
t.data6:func1()
t:dump()
