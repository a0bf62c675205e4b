--- R3.4: the same reload in twenty processes, each with another hash seed, ends the same in each.

local program = require "spec.support.program"

describe("R3.4 the order of a table", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  -- Twelve names, so that a wrong order shows up among the seeds.
  local prelude = [[
    require "hotreload"
    local names = {}
    for name in ("ant bee cat dog eel fox gnu hen ibis jay kid lark"):gmatch "%a+" do
      names[#names + 1] = name
    end
    local function each(form, separator)
      local lines = {}
      for i, name in ipairs(names) do
        lines[i] = form:gsub("NAME", name):gsub("NUMBER", tostring(i))
      end
      return table.concat(lines, separator or "\n")
    end
    local function write(text)
      local file = assert(io.open("M.lua", "w"))
      file:write(text)
      file:close()
    end
    local function start(text) write(text) return require "M" end
    local function update(text)
      write(text)
      local ok, result = gg.reload("M")
      print(ok, ok and result.functions.replaced .. " replaced" or result)
      return ok, result
    end
  ]]

  it("decides nothing where one running table meets many of the incoming version", function()
    local out = app:subprocesses(20, prelude .. [==[
      local M = start("local t = { f = function() return 'old' end } return {"
        .. each "NAME = t," .. "}")
      update("return {" .. each "NAME = { f = function() return 'new NAME' end, n = NUMBER },"
        .. "}")
      for i, name in ipairs(names) do
        print(name, M[name] == M[names[i - 1]], M[name].f(), M[name].n)
      end
    ]==])
    -- Each has a table of its own in the file, and none of these is more like the one table than
    -- the others.
    local n = 0
    for name, is_one, text, number in out:gmatch "(%a+)\t(%a+)\tnew (%a+)\t(%d+)\n" do
      n = n + 1
      assert.same({ "false", name, tostring(n) }, { is_one, text, number })
    end
    assert.equal(12, n)
  end)

  it("decides nothing where many running tables meet one of the incoming version", function()
    local out = app:subprocesses(20, prelude .. [==[
      local M =
        start("return {" .. each "NAME = { f = function() return 'old' end, n = NUMBER }," .. "}")
      local tables = {}
      for _, name in ipairs(names) do tables[name] = M[name] end
      update("local t = { f = function() return 'new' end, box = {} } t.box.t = t return {"
        .. each "NAME = t," .. "added = { t, [t] = 1 } }")
      for _, name in ipairs(names) do
        local t = M[name]
        print(name, t == tables[name], t.f(), t.n, t.box == M.ant.box, t.box.t == t,
          t == M.added[1], M.added[t])
      end
    ]==])
    -- The twelve expressions are gone; no one of them has become the one of the file.
    assert.matches("^true\t", out)
    local n = 0
    for line in out:gmatch "[^\n]*new[^\n]*" do
      n = n + 1
      assert.matches("^%a+\tfalse\tnew\tnil\ttrue\ttrue\ttrue\t1$", line)
    end
    assert.equal(12, n)
  end)

  it("decides nothing where many running functions meet one of the incoming version", function()
    local out = app:subprocesses(20, prelude .. [==[
      local M = start("local M = {}"
        .. each [[ do local n = NUMBER function M.NAME() n = n + 100 return n end end ]]
        .. "return M")
      for _, name in ipairs(names) do M[name]() end
      local _, report = update("local M = {} local n = 0 local function f() n = n + 1 return n end "
        .. each "M.NAME = f" .. " return M")
      for _, warning in ipairs(report.warnings) do print(warning) end
      for _, name in ipairs(names) do print(name, M[name] == M.ant, M[name]()) end
      assert(gg.reload "M")
      for _, name in ipairs(names) do print(name, M[name] == M.ant, M[name]()) end
    ]==])
    -- The twelve expressions are gone, and so are their counters, which the program has changed:
    -- that is told.
    assert.matches("^true\t0 replaced\n", out)
    local at, n = 1, 0
    for number = 101, 112 do
      local told = ("M: local n (number %d): no function of the file uses it; "
        .. "keep it in the file, or its value is lost\n"):format(number)
      local first, last = out:find(told, 1, true)
      assert.is_truthy(first, number)
      at = math.max(at, last + 1)
    end
    for is_one, count in out:sub(at):gmatch "%a+\t(%a+)\t(%d+)\n" do
      n = n + 1
      assert.same({ "true", tostring(n) }, { is_one, count })
    end
    assert.equal(24, n)
  end)

  it("decides nothing where one running function meets many of the incoming version", function()
    local out = app:subprocesses(20, prelude .. [==[
      local M = start("local n = 0 local function f() n = n + 1 return n end return {"
        .. each "NAME = f," .. "}")
      M.ant()
      update("local n = 0 return {" .. each "NAME = function() n = n + 1 return 'NAME', n end,"
        .. "}")
      for _, name in ipairs(names) do print(M[name]()) end
    ]==])
    -- The definition of `f` is gone, and the twelve are new; their counter is the one that was
    -- there.
    assert.equal("true\t0 replaced\n", out:match "^[^\n]*\n")
    local n = 1
    for name, count in out:gmatch "(%a+)\t(%d+)\n" do
      n = n + 1
      assert.equal(n, tonumber(count), name)
    end
    assert.equal(13, n)
  end)

  it("decides nothing where tables changed places under some of their names", function()
    local out = app:subprocesses(20, prelude .. [==[
      local function shape(a, b)
        return "local a = { name = 'a', f = function() return 'VERSION a' end }"
          .. "local b = { name = 'b', f = function() return 'VERSION b' end }"
          .. "return { a = a, b = b,"
          .. each(("NAME = %s, NAME_other = %s,"):format(a, b)) .. "ADDED }"
      end
      local M = start((shape("a", "b"):gsub("VERSION", "old"):gsub("ADDED", "")))
      update((shape("b", "a"):gsub("VERSION", "new"):gsub("ADDED", "added = { a, b, \z
        [a] = 'a', [b] = 'b' }")))
      print(M.a.name, M.a.f(), M.b.name, M.b.f(), M.added[1].name, M.added[2].name,
        M.added[M.a], M.added[M.b])
      for _, name in ipairs(names) do
        print(name, M[name].name, M[name].f(), M[name .. "_other"].name, M[name .. "_other"].f())
      end
    ]==])
    assert.matches("^true\t", out)
    assert.not_matches("old", out)
  end)

  it("decides nothing in which cells match by name", function()
    local out = app:subprocesses(20, prelude .. [==[
      local M = start("local M = {}"
        .. each [[
          do
            local n, NAME = NUMBER, "old NAME"
            function M.NAME() n = n + 1 return n, NAME end
          end ]]
        .. " return M")
      for _, name in ipairs(names) do M[name]() end
      update("local M = {}"
        .. each [[
          do
            local n, NAME = 1000, "new NAME"
            function M.NAME_renamed() return n, NAME end
          end ]]
        .. "\n"
        .. each [[
          do
            local n, other = 2000, "new"
            function M.NAME_fresh() return n, other end
          end ]]
        .. " return M")
      for i, name in ipairs(names) do
        print(name, i, M[name .. "_renamed"]()) print(M[name .. "_fresh"]())
      end
    ]==])
    -- Only the functions that are called NAME_renamed are like a former one, for the local that
    -- they use beside `n`.
    local renamed, fresh = 0, 0
    for line in out:gmatch "[^\n]+" do
      local name, i, n, text = line:match "^(%a+)\t(%d+)\t(%d+)\t(.*)$"
      if name then
        renamed = renamed + 1
        assert.same({ tostring(i + 1), "new " .. name }, { n, text })
      elseif line == "2000\tnew" then
        fresh = fresh + 1
      end
    end
    assert.same({ 12, 12 }, { renamed, fresh })
  end)

  it("decides nothing in the message that lists conflicts", function()
    local out = app:subprocesses(20, prelude .. [==[
      start("return {"
        .. each "NAME = function() end, sub_NAME = { f = function() end, g = NUMBER }," .. "}")
      update("return {" .. each "NAME = {}, sub_NAME = { f = NUMBER, g = function() end }," .. "}")
    ]==])
    for name in ("ant bee cat dog eel fox gnu hen ibis jay kid lark"):gmatch "%a+" do
      assert.matches("M." .. name, out, 1, true)
      assert.matches("M.sub_" .. name .. ".f", out, 1, true)
      assert.matches("M.sub_" .. name .. ".g", out, 1, true)
    end
  end)

  it("decides nothing in which of the globals that a module sets are paired first", function()
    local out = app:subprocesses(20, prelude .. [==[
      start("local n, other = 0 " .. each [[
        NAME = { next = other, n = NUMBER } other = NAME
        function NAME.f() n = n + 1 return "old", n end
        function NAME_call() return NAME.f() end]] .. " last = other")
      for _, name in ipairs(names) do _G[name].f() end
      update("local n, other = 0 " .. each [[
        NAME = { next = other, n = 0 } other = NAME
        function NAME.f() n = n + 1 return "new", n end
        function NAME_call() return NAME.f() end]] .. " last = other")
      print(last == lark)
      for i, name in ipairs(names) do
        print(name, _G[name].n, _G[name].next == _G[names[i - 1]], _G[name .. "_call"]())
      end
    ]==])
    assert.equal("true\t12 replaced\ntrue\n", out:match "^[^\n]*\n[^\n]*\n")
    local n = 12
    for name, number, linked, text, count in out:gmatch "(%a+)\t(%d+)\t(%a+)\t(%a+)\t(%d+)\n" do
      n = n + 1
      assert.same({ tostring(n - 12), "true", "new", tostring(n) },
        { number, linked, text, count }, name)
    end
    assert.equal(24, n)
  end)
end)
