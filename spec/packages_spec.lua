-- Real packages of Debian: all their modules are loaded, used, reloaded in every way, and used
-- again with the same results. spec/support/real_package.lua is the story; spec/support/packages/
-- has the packages. Each runs in a process of its own.

local document = require "spec.support.document"
local program = require "spec.support.program"
local real_package = require "spec.support.real_package"

local FOLDER = program.root .. "/spec/support/packages/"

local function names()
  local found = {}
  local pipe = assert(io.popen("ls " .. FOLDER))
  for name in pipe:lines() do found[#found + 1] = name:match "^([%w_]+)%.lua$" end
  pipe:close()
  return found
end

local SCRIPT = [[
  local pipe = assert(io.popen "env -i lua5.4 -e 'print(package.path) print(package.cpath)'")
  local path, cpath = pipe:read "l", pipe:read "l"
  package.path = %q .. "/?.lua;" .. package.path .. ";" .. path
  package.cpath = package.cpath .. ";" .. cpath
  io.stdout:write("done: ", require "spec.support.real_package".run(%q), "\n")
]]

-- The exceptions that a package may have: module → reason.
local EXCEPTIONS = { "unloadable", "programs", "refused", "vm_only", "grows", "changed" }

describe("A package of Debian", function()
  local app
  before_each(function() app = program.new() end)
  after_each(function() app:unload() end)

  for _, name in ipairs(names()) do
    local subject = dofile(FOLDER .. name .. ".lua")
    it(("is used as before after each reload of its modules: %s"):format(subject.debian), function()
      if not real_package.installed(subject.debian) then
        return pending(("%s is not installed (Debian: %s)"):format(name, subject.debian))
      end
      local out, code, err, how = app:subprocess(SCRIPT:format(program.root,
        FOLDER .. name .. ".lua"))
      assert.equal("exit 0", how .. " " .. code, err)
      local modules, native, reloads =
        out:match "done: (%d+) modules, (%d+) of them in C, (%d+) reloads\n$"
      assert.is_truthy(modules, out)
      -- By itself three times, and once with scope = "vm"; in one transaction once, and twice with
      -- scope = "vm"; moved once.
      local vm_only = 0
      for _ in pairs(subject.vm_only or {}) do vm_only = vm_only + 1 end
      assert.equal(8 * (modules - native) - 4 * vm_only, math.tointeger(reloads))
    end)
  end

  it("has its exceptions written down, with their reasons, in docs/reliability.md", function()
    local page, count = document.read "docs/reliability.md", 0
    for _, name in ipairs(names()) do
      local subject = dofile(FOLDER .. name .. ".lua")
      for _, kind in ipairs(EXCEPTIONS) do
        for module, reason in pairs(subject[kind] or {}) do
          count = count + 1
          assert.is_truthy(page:find("`" .. module .. "`", 1, true), module)
          assert.is_true(#reason > 10)
        end
      end
      for module in pairs(subject.needs or {}) do
        assert.is_truthy(page:find("`" .. module .. "`", 1, true), module)
      end
      if subject.old then assert.is_truthy(page:find(subject.debian, 1, true), name) end
    end
    assert.is_true(count > 10)
  end)
end)
