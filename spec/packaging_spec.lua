-- What is handed over: versions that agree, a rock that installs, scripts that cannot pass by
-- accident.

local document = require "spec.support.document"
local program = require "spec.support.program"
local commands = require "spec.support.shell"

local read, write, quote = commands.read, commands.write, commands.quote
local shell, is_installed = commands.run, commands.is_installed

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

  it("has one rockspec for checkouts and one for the release, which differ in version \z
    and source alone", function()
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
    for target in makefile:gmatch "\n([a-z-]+):" do
      targets[target] = true
    end
    for phonies in makefile:gmatch "\n%.PHONY:([^\n]*)" do
      for phony in phonies:gmatch "%S+" do assert.is_true(targets[phony], phony) end
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
    for name in read "lua/hotreload/meta.lua":match "@class %(exact%) \z
      hotreload%.Options\n(.-)\n\n":gmatch "@field ([%w_]+)" do
      declared[#declared + 1] = name
    end
    assert.is_true(#declared > 0)
    for _, name in ipairs(declared) do
      -- No option takes a coroutine: the message is about the value, so the name is known.
      local value = coroutine.create(print)
      local ok, message = pcall(hotreload.reload, "no.such.module", { [name] = value })
      assert.is_false(ok)
      assert.is_truthy(message:find(name, 1, true), message)
      assert.is_falsy(message:find("unknown option", 1, true), message)
    end
  end)
end)

for _, path in ipairs { "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md" } do
  document.specs(path, _ENV)
end

describe("docs/decisions", function()
  it("has pages in order, each with its four parts and a link in ARCHITECTURE.md", function()
    local map, count = document.read "ARCHITECTURE.md", 0
    local pipe = assert(io.popen("ls '" .. program.root .. "/docs/decisions'"))
    for name in pipe:lines() do
      count = count + 1
      local page = document.read("docs/decisions/" .. name)
      assert.are.equal(("%03d"):format(count), name:match "^(%d+)%-[%l%d-]+%.md$")
      local title, parts = page:match "^# %d+%. ([^\n]+)\n", {}
      for part in page:gmatch "\n## ([^\n]+)\n\n%S" do parts[#parts + 1] = part end
      assert.are.same({ "Context", "Decision", "What it costs", "What would change it" }, parts)
      local link = ("\n%d. [%s](docs/decisions/%s)\n"):format(count, title, name)
      assert.is_truthy(map:find(link, 1, true), name)
    end
    pipe:close()
    assert.is_true(count > 10)
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
    local output, ok =
      shell(("env -u MAKEFLAGS -u MAKELEVEL luarocks --lua-version 5.4 make --tree %s %s"):format(
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
    if package.searchpath("argparse", package.path) then
      assert.matches("^Usage: hotreload", (shell(quote(tree .. "/bin/hotreload") .. " -h")))
    end
  end

  it("installs into a tree of one's own, from which `require` takes all modules", function()
    installs("", "dev-1")
  end)

  it("does so with the rockspec of the release",
    function() installs(RELEASE, cargo "version" .. "-1") end)
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
    write(dir .. "/make",
      ("#!/bin/sh\necho \"$*\" in \"$PWD\" >>%s/calls\nexit %d\n"):format(dir, status))
    assert(os.execute("chmod +x " .. quote(dir .. "/make")))
    local output, ok = shell(("PATH=%s:\"$PATH\" luarocks --lua-version 5.4 test %s")
      :format(quote(dir), rockspec))
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

describe("the library's one file", function()
  it("has all modules but the types", function()
    local script = ([[
      package.path, package.cpath = "", %q
      assert(require "hotreload.watch".new {}:poll() == 0)
      local dev = require "hotreload.dev" { print = function() end }
      dev.stop()
      assert(require "hotreload.console".run "changed")
      assert(type(require "hotreload.hosts.agent".new()) == "function")
      assert(require "hotreload.hosts.coordinator".command { "m" })
      for _, engine in ipairs { "skynet", "moon", "silly" } do
        local found, why = pcall(require, "hotreload.hosts." .. engine)
        local module = engine == "silly" and "silly" or engine
        assert(not found and why:find("module '" .. module, 1, true), why)
      end
      print "all"]]):format(program.root .. "/build/?.so")
    local output, ok = shell("cd / && env -i PATH=\"$PATH\" lua5.4 -e " .. quote(script))
    assert.are.equal("all\n", output)
    assert.is_true(ok)
  end)
end)

describe("make install", function()
  it("puts each file where it is told", function()
    local root = os.tmpname()
    os.remove(root)
    finally(function() os.execute("rm -rf " .. quote(root)) end)

    local output, ok =
      shell(("env -u MAKEFLAGS -u MAKELEVEL make -s install DESTDIR=%s PREFIX=/opt/lua"):format(
      quote(root)))
    assert.is_true(ok, output)
    local files = shell(("cd %s && find . -type f | LC_ALL=C sort"):format(quote(root)))
    assert.are.equal("./opt/lua/bin/hotreload\n"
      .. "./opt/lua/lib/lua/5.4/hotreload.so\n"
      .. "./opt/lua/share/lua/5.4/hotreload/console.lua\n"
      .. "./opt/lua/share/lua/5.4/hotreload/dev.lua\n"
      .. "./opt/lua/share/lua/5.4/hotreload/hosts/agent.lua\n"
      .. "./opt/lua/share/lua/5.4/hotreload/hosts/common.lua\n"
      .. "./opt/lua/share/lua/5.4/hotreload/hosts/coordinator.lua\n"
      .. "./opt/lua/share/lua/5.4/hotreload/hosts/moon.lua\n"
      .. "./opt/lua/share/lua/5.4/hotreload/hosts/silly.lua\n"
      .. "./opt/lua/share/lua/5.4/hotreload/hosts/skynet.lua\n"
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
    assert(os.execute(("mkdir %s && cp -r scripts .ci Makefile %s")
      :format(quote(bin), quote(app.dir))))
  end)
  after_each(function() app:unload() end)

  local function stand_in(tool, script)
    write(bin .. "/" .. tool, "#!/bin/sh\n" .. script .. "\n")
    assert(os.execute("chmod +x " .. quote(bin .. "/" .. tool)))
  end

  local function run(script)
    return shell(("cd %s && env -i PATH=%s %s"):format(quote(app.dir),
      quote(bin .. ":/usr/bin:/bin"), script))
  end

  local function last_line(output)
    return output:match "([^\n]*)\n$"
  end

  local good_cargo =
    'echo "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out"\n'
    .. 'echo "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"'
  local good_busted = 'echo 10 0 2 >"$HOTRELOAD_COUNTS"'

  describe("test.sh", function()
    local function test(cargo_script, busted_script, files)
      assert(os.execute(("mkdir %s/spec"):format(quote(app.dir))))
      for _, file in ipairs(files or { "a" }) do
        write(("%s/spec/%s_spec.lua"):format(app.dir, file), "")
      end
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

    it("adds up all files of specs, each of which has a process of its own", function()
      local line, ok = test(good_cargo,
        'case $* in *c_spec*) echo 1 0 0 ;; *) echo 10 0 2 ;; esac >"$HOTRELOAD_COUNTS"',
        { "a", "b", "c" })
      assert.are.equal("26 passed, 0 failed, 5 skipped", line)
      assert.is_true(ok)
    end)

    it("fails with one file of specs that crashes, and counts the others", function()
      local line, ok = test(good_cargo,
        "case $* in *b_spec*) kill -SEGV $$ ;; esac\n" .. good_busted, { "a", "b", "c" })
      assert.are.equal("25 passed, 1 failed, 5 skipped", line)
      assert.is_false(ok)
    end)

    it("fails with one file of specs that has none, and counts the others", function()
      local line, ok = test(good_cargo,
        'case $* in *b_spec*) echo 0 0 0 ;; *) echo 10 0 2 ;; esac >"$HOTRELOAD_COUNTS"',
        { "a", "b", "c" })
      assert.are.equal("25 passed, 1 failed, 5 skipped", line)
      assert.is_false(ok)
    end)

    it("shows what a file of specs has printed", function()
      test(good_cargo, "echo a failure of $*\n" .. good_busted)
      local output = run "scripts/test.sh"
      assert.is_truthy(output:find("\n-- spec/a_spec.lua\na failure of ", 1, true), output)
    end)

    it("leaves out skipped tests where there are none", function()
      local line = test('echo "test result: ok. 1 passed; 0 failed; 0 ignored;"',
        'echo 1 0 0 >"$HOTRELOAD_COUNTS"')
      assert.are.equal("2 passed, 0 failed", line)
    end)

    it("fails with a failed Rust test, and runs the specs all the same", function()
      local line, ok = test('echo "test result: FAILED. 3 passed; 2 failed; 0 ignored;"\nexit 101',
        good_busted)
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
      local line, ok = test('echo "test result: ok. 0 passed; 0 failed; 0 ignored;"',
        'echo 0 0 0 >"$HOTRELOAD_COUNTS"')
      assert.are.equal("0 passed, 2 failed", line)
      assert.is_false(ok)
    end)
  end)

  describe("arrows.lua", function()
    --- Writes the files of a crate, and runs the script on it.
    local function arrows(files, flag)
      for name, text in pairs(files) do
        assert(os.execute(("mkdir -p %s/src/%s"):format(quote(app.dir), name:match "^(.-)[^/]*$")))
        write(("%s/src/%s.rs"):format(app.dir, name), text)
      end
      return run("lua5.4 scripts/arrows.lua " .. (flag or ""))
    end

    it("accepts imports that go down, and what only looks like one that goes up", function()
      local output, ok = arrows {
        api = "use crate::{code::{self, x::{Y as Z, W}}, lua};\n"
          .. "fn f<'a>(x: &'a str) { crate::support::g(x, b'\"') }",
        lua = "/* crate::api /* */ crate::api */ use crate::code::Thing; // crate::api\n"
          .. 'const S: [&str; 2] = ["crate::api", r#"crate::"api"#];',
        code = "pub(crate) use crate::support::Thing;",
        ["code/x"] = "use super::Local;\n"
          .. "#[cfg(test)] mod tests { use super::*; use crate::api::f; }",
        model = "#[cfg(test)]\nmod tests;\nmod inner { use super::g; }",
        ["model/tests"] = "use crate::api::f;",
        support = "",
      }
      assert.are.equal("arrows: 7 imports between 6 files, 0 fault(s)\n", output)
      assert.is_true(ok)
    end)

    for title, text in pairs {
      ["a plain `use`"] = "\nuse crate::api::f;",
      ["nested braces over several lines"] = "\nuse crate::{\n    lua,\n    api::{self, f},\n};",
      ["an inline path"] = "fn f() {\n    crate::api::f()\n}",
      ["a path with `super`"] = "mod inner {\n    use super::super::api::f;\n}",
    } do
      it("names the place of an import that goes up: " .. title, function()
        local output, ok = arrows { api = "", lua = "", model = text }
        local line = "src/model%.rs:2: `%S+api::f` goes up, from model to api\n"
        assert.is_truthy(output:find(line), output)
        assert.is_false(ok)
      end)
    end

    it("fails on a file in no room", function()
      local output, ok = arrows { api = "", other = "" }
      assert.is_truthy(output:find("src/other.rs: the file is in no room", 1, true), output)
      assert.is_false(ok)
    end)

    for title, other in pairs {
      ["struct"] = "pub(super) struct Found<'a>(&'a str);",
      ["enum in a module"] = "mod inner {\n    pub enum Found {}\n}",
      ["alias"] = "type Found = u32;",
      ["list that the façade shares"] = 'layout! {\n    Found, c"found": {\n    }\n}',
    } do
      it("names the second type of one name: " .. title, function()
        local output, ok = arrows { api = "pub trait Found: Copy {}", model = "\n" .. other }
        local line = "src/model%.rs:%d+: `Found` is a type of src/api%.rs:1 as well; "
          .. "give each a name of its own\n"
        assert.is_truthy(output:find(line), output)
        assert.is_false(ok)
      end)
    end

    it("accepts types of one name of which a test or a block has one", function()
      local output, ok = arrows {
        api = "pub struct Found;\nimpl Deref for Found {\n    type Target = u8;\n}",
        model = "// struct Found;\n#[cfg(test)]\nmod tests {\n    struct Found { a: u8 }\n}\n"
          .. "struct Target;",
        ["lua/late"] = "struct Object;",
        ["lua/late/unknown"] = "struct Object;", -- takes its place where the loader is not known
      }
      assert.are.equal("arrows: 0 imports between 4 files, 0 fault(s)\n", output)
      assert.is_true(ok)
    end)

    it("draws the rooms, their arrows and the circles of files", function()
      local output, ok = arrows({
        api = "use crate::code::C;", code = "use crate::api::A; use crate::lua::L;", lua = "",
      }, "--draw")
      assert.is_truthy(output:find("\napi %-> code +1\ncode %-> api +1\ncode %-> lua +1\n"), output)
      assert.is_truthy(output:find("\ncircle of 2 files: api code\n", 1, true), output)
      assert.is_true(ok)
    end)
  end)

  describe(".ci/run", function()
    --- Runs it with a `make` that runs one script for the tests and one for the lints.
    local function ci(test_script, lint_script)
      lint_script = lint_script or 'echo "4 passed, 0 failed, 1 skipped"'
      stand_in("make", ("case $1 in\n  test-all)\n%s\n;;\n  lint)\n%s\n;;\n  *) exit 9 ;;\nesac")
        :format(test_script, lint_script))
      local output, ok = run ".ci/run"
      return last_line(output), ok
    end

    it("ends with the sum of tests and lints, and succeeds when all passed", function()
      local line, ok = ci 'echo "7 passed, 0 failed, 2 skipped"'
      assert.are.equal("11 passed, 0 failed", line)
      assert.is_true(ok)
    end)

    it("fails with a failed test", function()
      local line, ok = ci 'echo "7 passed, 1 failed"\nexit 2'
      assert.are.equal("11 passed, 1 failed", line)
      assert.is_false(ok)
    end)

    it("fails with a failed test that `make` does not report", function()
      local line, ok = ci 'echo "7 passed, 1 failed"'
      assert.are.equal("11 passed, 1 failed", line)
      assert.is_false(ok)
    end)

    it("fails with a failed lint", function()
      local line, ok = ci('echo "7 passed, 0 failed"', 'echo "3 passed, 1 failed"\nexit 2')
      assert.are.equal("10 passed, 1 failed", line)
      assert.is_false(ok)
    end)

    it("fails when there is no sum", function()
      local line, ok = ci "exit 0"
      assert.are.equal("4 passed, 1 failed", line)
      assert.is_false(ok)
      line, ok = ci('echo "7 passed, 0 failed"', "exit 0")
      assert.are.equal("7 passed, 1 failed", line)
      assert.is_false(ok)
    end)

    it("fails when make fails after a sum without failures", function()
      local line, ok = ci 'echo "7 passed, 0 failed"\nexit 2'
      assert.are.equal("11 passed, 1 failed", line)
      assert.is_false(ok)
    end)
  end)

  describe("lint.sh", function()
    it("counts its checks, and skips those whose tools are missing", function()
      stand_in("cargo", 'case $* in *version*) exit 1 ;; tree*) echo "a v1 :: MIT" ;; esac')
      write(app.dir .. "/Cargo.toml", 'rust-version = "0.1"\n')
      write(app.dir .. "/a.rockspec", "")
      stand_in("luacheck", "exit 0")
      stand_in("shellcheck", "exit 0")
      stand_in("git", "echo Cargo.toml")
      assert(os.execute("mkdir -p " .. quote(app.dir) .. "/src"))
      write(app.dir .. "/src/lib.rs", "")
      local output, ok = run "scripts/lint.sh"
      assert.are.equal("7 passed, 0 failed, 5 skipped", last_line(output))
      for _, message in ipairs { "clippy: skipped: rustup component add clippy",
        "types for editors: skipped: cargo install emmylua_check --version 0.25.1 --locked" } do
        assert.is_truthy(output:find("\n== " .. message .. "\n", 1, true), output)
      end
      assert.is_true(ok)
    end)

    it("names each check that fails, and runs the others", function()
      stand_in("cargo", 'case $* in tree*) echo "a v1 :: GPL-3.0" ;; *clippy*) exit 1 ;; esac')
      write(app.dir .. "/Cargo.toml", 'rust-version = "0.1"\n')
      write(app.dir .. "/a.rockspec", "")
      stand_in("luacheck", "exit 0")
      stand_in("shellcheck", "exit 1")
      stand_in("git", "echo Cargo.toml")
      local output, ok = run "scripts/lint.sh"
      assert.is_truthy(output:find("lint: licences: failed\n", 1, true), output)
      assert.is_truthy(output:find("lint: shellcheck: failed\n", 1, true), output)
      assert.is_truthy(last_line(output):find("^%d+ passed, [^0]"), output)
      assert.is_false(ok)
    end)
  end)

  describe("licences.lua", function()
    local function licences(lines)
      return run(("printf %s | lua5.4 scripts/licences.lua"):format(quote(lines)))
    end

    it("accepts what is allowed, as a choice or together", function()
      local output, ok = licences("a v1 :: MIT\nb v2 :: GPL-2.0/MIT\n"
        .. "c v1 :: (MIT OR Apache-2.0) AND Unicode-3.0 (*)\n"
        .. "d v1 :: Apache-2.0 WITH LLVM-exception\n")
      assert.are.equal("licences: 4 lines of packages, 0 fault(s)\n", output)
      assert.is_true(ok)
    end)

    it("fails on a licence that is not, on a package without one, and on no package", function()
      for _, licence in ipairs { "GPL-3.0", "MIT AND GPL-3.0", "", "MIT OR" } do
        local output, ok = licences("a v1 :: " .. licence .. "\n")
        assert.is_truthy(output:find("^a v1: the licence is not in"), output)
        assert.is_false(ok)
      end
      assert.is_false(select(2, licences ""))
    end)
  end)

  describe("width.lua", function()
    local long = ("word "):rep(21)

    local function width(files)
      local names = {}
      for name, text in pairs(files) do
        write(app.dir .. "/" .. name, text)
        names[#names + 1] = "echo " .. name
      end
      stand_in("git", table.concat(names, "\n"))
      return run "lua5.4 scripts/width.lua"
    end

    it("fails on a wide line, and names it", function()
      local output, ok = width {
        ["good.lua"] = ("x "):rep(50) .. "\n", ["wide.lua"] = "\n" .. long .. "\n",
      }
      assert.are.equal("wide.lua: 1 line(s) wider than 100 characters: 2\n"
        .. "width: 1 wide line(s) in 1 file(s)\n", output)
      assert.is_false(ok)
    end)

    it("counts characters, and leaves out what nothing could break", function()
      local output, ok = width {
        ["a.lua"] = ("ü"):rep(50) .. " " .. ("é"):rep(49) .. "\n"
          .. "-- https://" .. ("x"):rep(100) .. "\n",
        ["a.md"] = "| " .. long .. "|\n```lua\n" .. long .. "\n```\n",
        ["a.txt"] = long .. "\n",
      }
      assert.are.equal("width: 0 wide line(s) in 0 file(s)\n", output)
      assert.is_true(ok)
    end)
  end)

  describe("setup.sh", function()
    -- Only the stand-ins and these: nothing that this machine has installed.
    local function setup(tools)
      for _, tool in ipairs { "bash", "env", "grep", "id", "sh" } do
        local link = quote(bin .. "/" .. tool)
        assert(os.execute(("test -e %s || ln -s \"$(command -v %s)\" %s"):format(link, tool, link)))
      end
      return shell(("cd %s && env -i PATH=%s scripts/setup.sh %s")
        :format(quote(app.dir), quote(bin), tools))
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
      assert.is_truthy(output:find("apt-get install gcc libc6-dev lua5.4 luarocks lua-busted", 1,
        true), output)
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
      stand_in("lua5.4",
        'case "$*" in *socket*) [ -f bin/has_socket ] ;; *) printf "Lua 5.4" ;; esac')
      local output, ok = setup "lua --if-possible luasocket"
      assert.is_true(ok, output)
      assert.are.equal("setup: not to be had: luasocket; what needs it is skipped\n", output)
      stand_in("id", "echo 0")
      stand_in("apt-get",
        'case "$*" in *update*) exit 9 ;; *" lua-socket") : >bin/has_socket ;; esac')
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
