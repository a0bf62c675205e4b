gg = gg or {}
require "reload"

local moduleName = "TestReload"
local t = require(moduleName)
t.func1()
t.func2()
t.data6:func1()
t:dump()
print("=========after change module's data=========")
t.func1 = function ()
    print("change TestReload.func1")
end
t.func2 = function ()
    print("change TestReload.func2")
end
t.data1 = 2
t.data2 = 2.0
t.data3 = "new string"
t.data4 = false
t.data5 = "change nil to string"
t.data6.k1 = 2
t.data6.func1 = function (self)
    print("change TestReload.data6.func1",self.k1)
end
t.changeUpValue("new upvalue")
t.func1()
t.func2()
t.data6:func1()
t:dump()
print("=========after reload=========")
gg.reload(moduleName)
t.func1()
t.func2()
t.data6:func1()
t:dump()
