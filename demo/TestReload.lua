local TestReload = {}

function TestReload.func1()
    print("TestReload.func1")
end

TestReload.func2 = function ()
    print("TestReload.func2")
end

TestReload.data1 = 1
TestReload.data2 = 1.0
TestReload.data3 = "string"
TestReload.data4 = true
TestReload.data5 = nil
TestReload.data6 = {
    k1 = 1,
    func1 = function (self)
        print("TestReload.data6.func1",self.k1)
    end
}

TestReload.self = TestReload

local upvalue = "upvalue"

function TestReload.changeUpValue(value)
    upvalue = value
end

function TestReload:dump()
    print("TestReload:dump,data1:",self.data1)
    print("TestReload:dump,data2:",self.data2)
    print("TestReload:dump,data3:",self.data3)
    print("TestReload:dump,data4:",self.data4)
    print("TestReload:dump,data5:",self.data5)
    print("TestReload.dump,upvalue:",upvalue)
end

return TestReload
