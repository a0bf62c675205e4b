-- What is handed over: versions that agree, a rock that installs, scripts that cannot pass by accident.

local program = require "spec.support.program"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "a"
  file:close()
  return bytes
end

local function write(path, bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
end

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Runs a shell command; returns what it printed (both streams) and whether it succeeded.
local function shell(command)
  local pipe = assert(io.popen(("{ %s\n} 2>&1 </dev/null"):format(command)))
  local output = pipe:read "a"
  return output, pipe:close() == true
end

local function is_installed(tool)
  local _, found = shell("command -v " .. tool)
  return found
end

local function load_table(path)
  local env = {}
  local chunk = assert(load(read(path), "@" .. path, "t", env))
  return chunk() or env
end

--- The value of a key of Cargo.toml's [package].
local function cargo(key)
  return read "Cargo.toml":match("%[package%].-\n" .. key .. '%s*=%s*"([^"]*)"')
end

local RELEASE = ("hotreload-%s-1.rockspec"):format(cargo "version")

describe("the package", function()
  it("has its version in Cargo.toml alone", function()
    local version = assert.is_truthy(cargo "version")
    assert.are.equal("hotreload " .. version, require "hotreload"._VERSION)
    assert.are.equal("dev-1", load_table "hotreload-dev-1.rockspec".version)
    assert.are.equal(version .. "-1", load_table(RELEASE).version)
    assert.are.equal("v" .. version, load_table(RELEASE).source.tag)
  end)

  it("has one rockspec for checkouts and one for the release, which differ in version and source alone", function()
    local found = shell "ls *.rockspec"
    assert.are.equal(RELEASE .. "\nhotreload-dev-1.rockspec\n", found)
    local release, dev = load_table(RELEASE), load_table "hotreload-dev-1.rockspec"
    for _, rockspec in ipairs { release, dev } do
      rockspec.version, rockspec.source = nil, nil
    end
    assert.are.same(dev, release)
  end)

  it("has a changelog that knows the version", function()
    local heading = "\n## %[" .. cargo "version":gsub("%.", "%%.") .. "%] %- %d%d%d%d%-%d%d%-%d%d\n"
    assert.is_truthy(read "CHANGELOG.md":find(heading))
  end)

  it("says the same of itself in Cargo.toml and in the rockspec", function()
    local rockspec = load_table "hotreload-dev-1.rockspec"
    assert.are.equal(cargo "name", rockspec.package)
    assert.are.equal(cargo "license", rockspec.description.license)
    assert.are.equal(cargo "description", rockspec.description.summary)
    assert.are.equal("make", rockspec.build.type)
    assert.is_truthy(read "LICENSE":find("^MIT License\n"))
  end)

  it("names only scripts and targets that exist", function()
    local makefile = read "Makefile"
    local targets = {}
    for target in makefile:gmatch "\n([a-z]+):" do
      targets[target] = true
    end
    for phony in makefile:match "\n%.PHONY:([^\n]*)":gmatch "%S+" do
      assert.is_true(targets[phony], phony)
    end
    for script in makefile:gmatch "scripts/[%w_.]+" do
      local _, executable = shell("test -x " .. script)
      assert.is_true(executable, script)
    end
  end)

  it("answers to `reload` with the very table of `hotreload`", function()
    assert.are.equal(require "hotreload", require "reload")
  end)

  it("declares for editors every option that it takes, and no other", function()
    local hotreload = require "hotreload"
    local declared = {}
    for name in read "lua/hotreload/meta.lua":match "@class hotreload%.Options\n(.-)\n\n":gmatch "@field ([%w_]+)" do
      declared[#declared + 1] = name
    end
    assert.is_true(#declared > 0)
    for _, name in ipairs(declared) do
      -- No option takes a function: the message is about the value, so the name is known.
      local ok, message = pcall(hotreload.reload, "no.such.module", { [name] = print })
      assert.is_false(ok)
      assert.is_truthy(message:find(name, 1, true), message)
      assert.is_falsy(message:find("unknown option", 1, true), message)
    end
  end)
end)

describe("luarocks make", function()
  local tree
  before_each(function()
    tree = os.tmpname()
    os.remove(tree)
  end)
  after_each(function() os.execute("rm -rf " .. quote(tree)) end)

  local function installs(rockspec, version)
    if not is_installed "luarocks" then
      return pending "luarocks is not installed"
    end
    -- A make above this one would hand its flags down.
    local output, ok = shell(("env -u MAKEFLAGS -u MAKELEVEL luarocks --lua-version 5.4 make --tree %s %s"):format(
      quote(tree), rockspec))
    assert.is_true(ok, output)
    assert.is_truthy(output:find("hotreload " .. version .. " is now installed", 1, true), output)

    local paths = ("LUA_PATH_5_4=%s LUA_CPATH_5_4=%s"):format(quote(tree .. "/share/lua/5.4/?.lua"),
      quote(tree .. "/lib/lua/5.4/?.so"))
    local script = [[
      local hotreload = require "hotreload"
      assert(require "reload" == hotreload and gg.reload == hotreload.reload)
      assert(package.searchpath("hotreload.meta", package.path))
      assert(require "hotreload.watch".new {}:poll() == 0)
      print(hotreload._VERSION)
    ]]
    output, ok = shell(("cd / && %s lua5.4 -e %s"):format(paths, quote(script)))
    assert.are.equal("hotreload " .. cargo "version" .. "\n", output)
    assert.is_true(ok)
  end

  it("installs into a tree of one's own, from which `require` takes all modules", function()
    installs("", "dev-1")
  end)

  it("does so with the rockspec of the release", function() installs(RELEASE, cargo "version" .. "-1") end)
end)

describe("luarocks test", function()
  local dir
  before_each(function()
    dir = os.tmpname()
    assert(os.execute(("rm %s && mkdir %s"):format(quote(dir), quote(dir))))
  end)
  after_each(function() os.execute("rm -rf " .. quote(dir)) end)

  --- Runs it with a `make` that notes how it was called and ends with this status.
  local function luarocks_test(rockspec, status)
    write(dir .. "/make", ("#!/bin/sh\necho \"$*\" in \"$PWD\" >>%s/calls\nexit %d\n"):format(dir, status))
    assert(os.execute("chmod +x " .. quote(dir .. "/make")))
    local output, ok = shell(("PATH=%s:\"$PATH\" luarocks --lua-version 5.4 test %s"):format(quote(dir), rockspec))
    local _, called = shell("test -f " .. quote(dir .. "/calls"))
    assert.is_true(called, output)
    assert.are.equal(("test in %s\n"):format(program.root), read(dir .. "/calls"))
    assert(os.remove(dir .. "/calls"))
    return ok
  end

  for title, rockspec in pairs { ["in a checkout"] = "", ["of the release"] = RELEASE } do
    it("runs `make test` " .. title .. ", and fails when that fails", function()
      if not is_installed "luarocks" then
        return pending "luarocks is not installed"
      end
      assert.is_true(luarocks_test(rockspec, 0))
      assert.is_false(luarocks_test(rockspec, 2))
    end)
  end
end)

describe("make install", function()
  it("puts each file where it is told", function()
    local root = os.tmpname()
    os.remove(root)
    finally(function() os.execute("rm -rf " .. quote(root)) end)

    local output, ok = shell(("env -u MAKEFLAGS -u MAKELEVEL make -s install DESTDIR=%s PREFIX=/opt/lua"):format(
      quote(root)))
    assert.is_true(ok, output)
    local files = shell(("cd %s && find . -type f | LC_ALL=C sort"):format(quote(root)))
    assert.are.equal("./opt/lua/lib/lua/5.4/hotreload.so\n"
      .. "./opt/lua/share/lua/5.4/hotreload/meta.lua\n"
      .. "./opt/lua/share/lua/5.4/hotreload/watch.lua\n"
      .. "./opt/lua/share/lua/5.4/reload.lua\n", files)
  end)
end)

-- The scripts run in a directory of their own, with stand-ins for the tools that they call.
describe("the script", function()
  local app, bin
  before_each(function()
    app = program.new()
    bin = app.dir .. "/bin"
    assert(os.execute(("mkdir %s && cp -r scripts .ci Makefile %s"):format(quote(bin), quote(app.dir))))
  end)
  after_each(function() app:unload() end)

  local function stand_in(tool, script)
    write(bin .. "/" .. tool, "#!/bin/sh\n" .. script .. "\n")
    assert(os.execute("chmod +x " .. quote(bin .. "/" .. tool)))
  end

  local function run(script)
    return shell(("cd %s && env -i PATH=%s %s"):format(quote(app.dir), quote(bin .. ":/usr/bin:/bin"), script))
  end

  local function last_line(output)
    return output:match "([^\n]*)\n$"
  end

  local good_cargo = 'echo "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out"\n'
    .. 'echo "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"'
  local good_busted = 'echo 10 0 2 >"$HOTRELOAD_COUNTS"'

  describe("test.sh", function()
    local function test(cargo_script, busted_script)
      stand_in("cargo", cargo_script)
      stand_in("busted", busted_script)
      local output, ok = run "scripts/test.sh"
      return last_line(output), ok
    end

    it("adds up Rust tests and specs", function()
      local line, ok = test(good_cargo, good_busted)
      assert.are.equal("15 passed, 0 failed, 3 skipped", line)
      assert.is_true(ok)
    end)

    it("leaves out skipped tests where there are none", function()
      local line = test('echo "test result: ok. 1 passed; 0 failed; 0 ignored;"', 'echo 1 0 0 >"$HOTRELOAD_COUNTS"')
      assert.are.equal("2 passed, 0 failed", line)
    end)

    it("fails with a failed Rust test, and runs the specs all the same", function()
      local line, ok = test('echo "test result: FAILED. 3 passed; 2 failed; 0 ignored;"\nexit 101', good_busted)
      assert.are.equal("13 passed, 2 failed, 2 skipped", line)
      assert.is_false(ok)
    end)

    it("fails with a failed spec", function()
      local line, ok = test(good_cargo, 'echo 9 1 0 >"$HOTRELOAD_COUNTS"\nexit 1')
      assert.are.equal("14 passed, 1 failed, 1 skipped", line)
      assert.is_false(ok)
    end)

    it("fails with 256 failed specs, of which busted's exit status knows nothing", function()
      local line, ok = test(good_cargo, 'echo 9 256 0 >"$HOTRELOAD_COUNTS"\nexit 0')
      assert.are.equal("14 passed, 256 failed, 1 skipped", line)
      assert.is_false(ok)
    end)

    it("fails when the Rust tests do not build", function()
      local line, ok = test('echo "error: could not compile" >&2\nexit 101', good_busted)
      assert.are.equal("10 passed, 1 failed, 2 skipped", line)
      assert.is_false(ok)
    end)

    it("fails when a Rust test program crashes after others have passed", function()
      local line, ok = test(good_cargo .. "\nkill -SEGV $$", good_busted)
      assert.are.equal("15 passed, 1 failed, 3 skipped", line)
      assert.is_false(ok)
    end)

    it("fails when busted crashes", function()
      local line, ok = test(good_cargo, "kill -SEGV $$")
      assert.are.equal("5 passed, 1 failed, 1 skipped", line)
      assert.is_false(ok)
    end)

    it("fails when busted ends early and calls that a success", function()
      local line, ok = test(good_cargo, "exit 0")
      assert.are.equal("5 passed, 1 failed, 1 skipped", line)
      assert.is_false(ok)
    end)

    it("fails when no test is run, on either side", function()
      local line, ok = test('echo "test result: ok. 0 passed; 0 failed; 0 ignored;"', 'echo 0 0 0 >"$HOTRELOAD_COUNTS"')
      assert.are.equal("0 passed, 2 failed", line)
      assert.is_false(ok)
    end)
  end)

  describe(".ci/run", function()
    local function ci(test_script)
      stand_in("make", test_script)
      local output, ok = run ".ci/run"
      return last_line(output), ok
    end

    it("ends with the sum, and succeeds when all passed", function()
      local line, ok = ci 'echo "7 passed, 0 failed, 2 skipped"'
      assert.are.equal("7 passed, 0 failed", line)
      assert.is_true(ok)
    end)

    it("fails with a failed test", function()
      local line, ok = ci 'echo "7 passed, 1 failed"\nexit 2'
      assert.are.equal("7 passed, 1 failed", line)
      assert.is_false(ok)
    end)

    it("fails when there is no sum", function()
      local line, ok = ci "exit 0"
      assert.are.equal("0 passed, 1 failed", line)
      assert.is_false(ok)
    end)

    it("fails when make fails after a sum without failures", function()
      local line, ok = ci 'echo "7 passed, 0 failed"\nexit 2'
      assert.are.equal("7 passed, 1 failed", line)
      assert.is_false(ok)
    end)
  end)

  describe("setup.sh", function()
    -- Only the stand-ins and these: nothing that this machine has installed.
    local function setup(tools)
      for _, tool in ipairs { "bash", "env", "grep", "id", "sh" } do
        local link = quote(bin .. "/" .. tool)
        assert(os.execute(("test -e %s || ln -s \"$(command -v %s)\" %s"):format(link, tool, link)))
      end
      return shell(("cd %s && env -i PATH=%s scripts/setup.sh %s"):format(quote(app.dir), quote(bin), tools))
    end

    local lua = "printf 'Lua 5.4'"

    it("is silent where everything is there", function()
      for _, tool in ipairs { "cargo", "cc", "busted", "luarocks" } do
        stand_in(tool, "exit 0")
      end
      stand_in("lua5.4", lua)
      local output, ok = setup "cc lua luarocks busted"
      assert.are.equal("", output)
      assert.is_true(ok)
    end)

    it("names what is missing, and its packages, where it cannot install them", function()
      stand_in("cargo", "exit 0")
      stand_in("lua5.4", "printf 'Lua 5.3'") -- by that name, but another
      local output, ok = setup "cc lua luarocks busted"
      assert.is_false(ok)
      assert.is_truthy(output:find("missing: cc lua luarocks busted", 1, true), output)
      assert.is_truthy(output:find("apt-get install gcc libc6-dev lua5.4 luarocks lua-busted", 1, true), output)
    end)

    it("fetches the package lists when installing does not go without, and asks nothing", function()
      stand_in("cargo", "exit 0")
      stand_in("id", "echo 0")
      stand_in("apt-get", ([[
        echo "$DEBIAN_FRONTEND apt-get $*" >>%s/log
        case "$*" in
          *update*) : >%s/updated ;;
          *install*) [ -f %s/updated ] || exit 100
            printf '#!/bin/sh\n' >%s/busted; /bin/chmod +x %s/busted ;;
        esac]]):gsub("%%s", function() return app.dir .. "/bin" end))
      local output, ok = setup "busted"
      assert.is_true(ok, output)
      local log = read(bin .. "/log")
      assert.are.equal(3, select(2, log:gsub("\n", "")), log)
      assert.are.equal(3, select(2, log:gsub("noninteractive apt%-get %-y", "")), log)
      assert.is_truthy(log:find("install --no-install-recommends lua-busted\n", 1, true), log)
    end)

    it("fails when installing does not help", function()
      stand_in("cargo", "exit 0")
      stand_in("id", "echo 0")
      stand_in("apt-get", "exit 0")
      local output, ok = setup "busted"
      assert.is_false(ok)
      assert.is_truthy(output:find("missing: busted", 1, true), output)
    end)

    it("installs what is only wished for where it can, and succeeds where it cannot", function()
      stand_in("cargo", "exit 0")
      stand_in("lua5.4", 'case "$*" in *socket*) [ -f bin/has_socket ] ;; *) printf "Lua 5.4" ;; esac')
      local output, ok = setup "lua --if-possible luasocket"
      assert.is_true(ok, output)
      assert.are.equal("setup: not to be had: luasocket; specs that need it are skipped\n", output)
      stand_in("id", "echo 0")
      stand_in("apt-get", 'case "$*" in *update*) exit 9 ;; *" lua-socket") : >bin/has_socket ;; esac')
      output, ok = setup "lua --if-possible luasocket"
      assert.is_true(ok, output)
      assert.are.equal("setup: installed lua-socket\n", output)
      output, ok = setup "lua --if-possible luasocket"
      assert.is_true(ok, output)
      assert.are.equal("", output)
    end)

    it("says where Rust comes from where there is none", function()
      local output, ok = setup "cc"
      assert.is_false(ok)
      assert.is_truthy(output:find("cargo is missing", 1, true), output)
    end)
  end)
end)
