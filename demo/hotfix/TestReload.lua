local TestReload = {}

local upvalue = "upvalue"
local calls = 0

local function describe(value)
    return ("%s (%s)"):format(value, type(value))
end

function TestReload.func1()
    calls = calls + 1
    print("TestReload.func1, corrected", calls)
end

TestReload.func2 = function ()
    print("TestReload.func2, corrected", upvalue)
end

function TestReload.func3()
    upvalue = upvalue .. ", and more"
    print("TestReload.func3", upvalue)
end

TestReload.data1 = 100
TestReload.data2 = 100.0
TestReload.data6 = {
    k1 = 100,
    k2 = 200,
    func1 = function (self)
        print("TestReload.data6.func1, corrected",self.k1,self.k2)
    end
}
TestReload.data7 = "new field"

TestReload.self = TestReload

function TestReload.changeUpValue(value)
    upvalue = value
end

function TestReload:dump()
    print("TestReload:dump,data1:",describe(self.data1))
    print("TestReload:dump,data2:",describe(self.data2))
    print("TestReload:dump,data3:",describe(self.data3))
    print("TestReload:dump,data7:",describe(self.data7))
    print("TestReload.dump,upvalue:",upvalue)
end

function TestReload.__hotfix(module)
    print("TestReload.__hotfix", module == TestReload, module.data1)
end

return TestReload
