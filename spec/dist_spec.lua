-- What people without Rust install: each package of `make dist`, put into an empty root, runs the
-- document's scenario there.

local document = require "spec.support.document"
local program = require "spec.support.program"
local commands = require "spec.support.shell"

local read, write, quote = commands.read, commands.write, commands.quote
local shell, is_installed = commands.run, commands.is_installed

local argparse = package.searchpath("argparse", package.path)
local GLIBC = "libdl.so.2 libpthread.so.0"
local ARGUMENTS = " --release --locked --lib --message-format=json-render-diagnostics"

local function must(command)
  local output, ok = shell(command)
  assert(ok, command .. "\n" .. output)
  return output
end

--- The newest version of glibc that a library asks for, as readelf tells it.
local function glibc_of(path)
  local newest, most = nil, -1
  for version in must("readelf --version-info " .. quote(path)):gmatch "GLIBC_([%d.]+)" do
    local major, minor = version:match "^(%d+)%.(%d+)"
    local rank = major * 1000 + minor
    if rank > most then newest, most = version, rank end
  end
  return newest
end

-- Only Linux with glibc has all three packages.
local is_glibc = select(2, shell "getconf GNU_LIBC_VERSION")
local machine = must "uname -m":match "%S+"

local LINKER = ("CARGO_TARGET_%s_UNKNOWN_LINUX_GNU_LINKER"):format(machine:upper())

describe("make dist", function()
  local dir, out

  --- The path of the one package with this ending.
  local function package(ending)
    local found = shell(("ls %s/*%s"):format(quote(out), ending)):match "^([^\n]+)\n$"
    return found and io.open(found) and found
  end

  --- Runs a command in which ROOT is this directory.
  local function fill(command, root, ...)
    return must((command:format(...):gsub("ROOT", function() return quote(root) end)))
  end

  --- An empty root with `lua5.4`, the libraries that it needs, and the scenario.
  local function new_root(name)
    local root = dir .. "/" .. name
    local lua = must "readlink -f \"$(command -v lua5.4)\"":match "[^\n]+"
    fill("mkdir -p ROOT/usr/bin && cp -R demo ROOT && cp %s ROOT/usr/bin/lua5.4", root, quote(lua))
    -- What comes with glibc is there: libgcc_s, which a library that cargo alone has built needs,
    -- and the others, which one that zig has built needs.
    local needed = must("ldd " .. quote(lua) .. " build/hotreload.so")
    local place = needed:match "(/%S+)/libc%.so"
    for library in (needed .. GLIBC:gsub("%S+", place .. "/%0 (")):gmatch "(/%S+) %(" do
      fill("cp --parents -L %s ROOT", root, library)
    end
    return root
  end

  local function enter(root, command)
    local prefix = program.is_root and "" or "unshare --map-root-user "
    return shell(("cd / && env -i PATH=/usr/bin:/bin:/usr/sbin %schroot %s %s"):format(prefix,
      quote(root), command))
  end

  --- Runs the scenario in a root.
  local function plays(root)
    local script = quote "package.path = '/demo/?.lua;' .. package.path dofile '/demo/main.lua'"
    local output, ok = enter(root, "/usr/bin/lua5.4 -e " .. script)
    assert.are.equal(read "demo/expected.txt", output)
    assert.is_true(ok)
  end

  --- Unpacks the tarball below /usr/local of a root; `more` are arguments of tar.
  local function unpack_into(root, more)
    fill("mkdir ROOT/usr/local && tar -xzf %s -C ROOT/usr/local --strip-components=1 %s", root,
      quote(package ".tar.gz"), more or "")
  end

  --- Why this machine cannot enter a root; nil where it can.
  local function why_not()
    if not is_glibc then return "the packages are for Linux with glibc" end
    local output, ok = enter(new_root "bare", "/usr/bin/lua5.4 -e 'print(1)'")
    return not ok and "this machine does not allow chroot: " .. output or nil
  end

  local said, closed
  lazy_setup(function()
    dir = os.tmpname()
    must(("rm %s && mkdir %s"):format(quote(dir), quote(dir)))
    out = dir .. "/out"
    closed = why_not()
    if is_glibc then
      said = must("scripts/dist.sh --library build/hotreload.so --output " .. quote(out))
    end
  end)
  lazy_teardown(function() must("rm -rf " .. quote(dir)) end)

  it("runs nothing of the library in a root without a package", function()
    if closed then return pending(closed) end
    local output, ok = enter(new_root "without", "/usr/bin/lua5.4 -e 'require \"hotreload\"'")
    assert.is_false(ok)
    assert.is_truthy(output:find("module 'hotreload' not found", 1, true), output)
  end)

  it("tells the glibc that the library needs, and names the tarball by it", function()
    if not is_glibc then return pending(closed) end
    local glibc = glibc_of "build/hotreload.so"
    assert.are.equal(("dist: the library needs glibc %s\n"):format(glibc), said:match "^[^\n]*\n")
    assert.is_truthy(package(("linux-%s-glibc%s.tar.gz"):format(machine, glibc)))
  end)

  it("makes a tarball that runs the scenario where it is unpacked below /usr/local", function()
    if closed then return pending(closed) end
    local root = new_root "tarball"
    unpack_into(root)
    plays(root)
    for _, name in ipairs { "README.md", "LICENSE", "LICENCES.txt", "docs/api.md" } do
      assert.is_truthy(io.open(root .. "/usr/local/" .. name), name)
    end
    fill("env -u MAKEFLAGS -u MAKELEVEL make -s install DESTDIR=ROOT PREFIX=/p", root)
    assert.are.equal(fill("cd ROOT/p && find . -type f | sort", root),
      fill("cd ROOT/usr/local && find bin lib share -type f | sort | sed s,^,./,", root))
  end)

  it("makes a tarball whose one library runs the scenario alone", function()
    if closed then return pending(closed) end
    local root = new_root "library"
    unpack_into(root, "--wildcards '*/lib'")
    write(root .. "/demo/reload.lua", "return require 'hotreload'")
    plays(root)
  end)

  it("makes a binary rock that LuaRocks installs, and that runs the scenario", function()
    if closed then return pending(closed) end
    if not is_installed "luarocks" then return pending "luarocks is not installed" end
    local root = new_root "rock"
    fill("cd / && luarocks --lua-version 5.4 --tree ROOT/usr/local install --deps-mode none %s",
      root, quote(package ".rock"))
    plays(root)
  end)

  it("makes a Debian package that dpkg installs and that runs the scenario", function()
    if closed then return pending(closed) end
    if not (is_installed "dpkg-deb" and select(2, shell "dpkg -s lua5.4 libc6")) then
      return pending "this is no Debian with its lua5.4"
    end
    local root = new_root "deb"
    fill("mkdir -p ROOT/var/lib/dpkg/info ROOT/var/lib/dpkg/updates", root)
    write(root .. "/var/lib/dpkg/status", "")
    local install = ("PATH=\"$PATH:/usr/sbin:/sbin\" dpkg --root=%s --log=/dev/null -i %s")
      :format(quote(root), quote(package ".deb"))
    local output, ok = shell(install)
    assert.is_false(ok)
    assert.is_truthy(output:find("lua-hotreload depends on lua5.4", 1, true), output)
    assert.is_truthy(output:find(("lua-hotreload depends on libc6 (>= %s)"):format(
      glibc_of "build/hotreload.so"), 1, true), output)

    fill("dpkg -s lua5.4 libc6 libgcc-s1 >ROOT/var/lib/dpkg/status", root)
    must(install)
    plays(root)
    output = enter(root, "/usr/bin/lua5.4 /usr/bin/hotreload -h")
    assert.are.equal("hotreload: the Lua library 'argparse' is missing: on Debian, "
      .. "apt install lua-argparse\n", output)
    if argparse then
      fill("cp --parents %s ROOT", root, argparse)
      output = enter(root, "/usr/bin/lua5.4 /usr/bin/hotreload -h")
      assert.is_truthy(output:find "^Usage: hotreload", output)
    end
    assert.are.equal("", fill("dpkg --root=ROOT --verify lua-hotreload", root))
    local docs = root .. "/usr/share/doc/lua-hotreload/"
    for _, name in ipairs { "copyright", "README.md", "LICENCES.txt.gz", "docs/api.md" } do
      assert.is_truthy(io.open(docs .. name), name)
    end
  end)

  it("makes the same tarball and Debian package again, and sums that agree", function()
    if not is_glibc then return pending(closed) end
    must(("cd %s && sha256sum --check SHA256SUMS"):format(quote(out)))
    local again = dir .. "/again"
    must("scripts/dist.sh --library build/hotreload.so --output " .. quote(again))
    for _, ending in ipairs { "%.tar%.gz", "%.deb" } do
      local line = "(%x+  %S+" .. ending .. ")\n"
      local sum = read(out .. "/SHA256SUMS"):match(line)
      assert.are.equal(read(again .. "/SHA256SUMS"):match(line), sum)
    end
  end)

  it("has the licence of each package that is linked into the library", function()
    if not is_glibc then return pending(closed) end
    local texts = must(("tar -xzOf %s --wildcards '*/LICENCES.txt'")
      :format(quote(package ".tar.gz")))
    for name in read "Cargo.toml":match "%[dependencies%](\n.-)\n\n":gmatch "\n([%w-]+) = " do
      assert.is_truthy(texts:find("\n==== " .. name .. " v", 1, true), name)
    end
    assert.is_truthy(texts:find "Copyright %(c%) [%d-]+ A%. Orlenko")
    assert.is_truthy(texts:find("\n==== The standard library of Rust\n", 1, true))
  end)

  it("fails where the library needs a newer glibc than it may, and makes nothing", function()
    if not is_glibc then return pending(closed) end
    local output, ok = shell("scripts/dist.sh --library build/hotreload.so --glibc 2.2 --output "
      .. quote(dir .. "/old"))
    assert.is_false(ok)
    local message = ("dist: build/hotreload.so needs glibc %s, which is newer than 2.2\n")
      :format(glibc_of "build/hotreload.so")
    assert.is_truthy(output:find(message, 1, true), output)
    assert.are.equal("", shell("ls " .. quote(dir .. "/old")))
  end)

  it("fails for a library that is not there, and for an option that it does not know", function()
    local output, ok = shell "scripts/dist.sh --library no/such.so"
    assert.are.equal("dist: there is no file no/such.so\n", output)
    assert.is_false(ok)
    output, ok = shell "scripts/dist.sh --fast yes"
    assert.are.equal("dist: no option is called '--fast'\n", output)
    assert.is_false(ok)
    output, ok = shell "scripts/dist.sh --glibc"
    assert.are.equal("dist: --glibc wants a value\n", output)
    assert.is_false(ok)
  end)

  --- Runs it in a copy, with a cargo that notes how it was called and gives the built library.
  local function with_stand_ins(tools)
    local copy, cargo = dir .. "/copy", must "command -v cargo":match "[^\n]+"
    fill("rm -rf ROOT && mkdir -p ROOT/bin ROOT/target && cp -R scripts Makefile Cargo.toml "
      .. "Cargo.lock *.rockspec bin lua src bench demo docs "
      .. "README*.md CHANGELOG.md LICENSE ROOT", copy)
    fill("cp build/hotreload.so ROOT/target/libhotreload.so", copy)
    tools.cargo = ([[case $1 in
      build) echo "$*" $ZIG_TARGET "$%s" >>COPY/calls; echo '"COPY/target/libhotreload.so"' ;;
      *) exec %s "$@" ;; esac]]):format(LINKER, cargo):gsub("COPY", function() return copy end)
    for tool, script in pairs(tools) do
      write(copy .. "/bin/" .. tool, "#!/bin/sh\n" .. script .. "\n")
      must("chmod +x " .. quote(copy .. "/bin/" .. tool))
    end
    local path = ("%s/bin:/usr/bin:/bin:%s"):format(copy, cargo:match "^(.*)/")
    local output = fill("cd ROOT && env -i ${CARGO_HOME:+CARGO_HOME=\"$CARGO_HOME\"} "
      .. "HOME=\"$HOME\" PATH=%s scripts/dist.sh", copy, quote(path))
    return output, read(copy .. "/calls"), copy
  end

  it("builds with cargo alone where zig is missing, and says what that means", function()
    if not is_glibc then return pending(closed) end
    local glibc = glibc_of "build/hotreload.so"
    local output, calls, copy = with_stand_ins { python3 = "exit 1" }
    assert.are.equal("build" .. ARGUMENTS .. " \n", calls)
    local first, needs = output:match "^([^\n]*)\n[^\n]*\n([^\n]*)\n"
    local missing = "dist: zig is missing: cargo builds for this machine's glibc"
    assert.are.equal(missing, first)
    assert.are.equal("dist: the library needs glibc " .. glibc, needs)
    fill("test -f ROOT/build/dist/hotreload-*-glibc%s.tar.gz", copy, glibc)
  end)

  it("links with zig where that is there", function()
    if not is_glibc then return pending(closed) end
    local output, calls, copy = with_stand_ins {
      python3 = "case $* in '-m ziglang version') ;; -c*) pwd ;; *) exit 9 ;; esac",
    }
    local target = ("build --target %s-unknown-linux-gnu"):format(machine)
    local linker = ("%s-linux-gnu.2.17 %s/scripts/zig_cc.sh\n"):format(machine, copy)
    assert.are.equal(target .. ARGUMENTS .. " " .. linker, calls)
    assert.is_truthy(output:find "^dist: zig links for glibc 2%.17\n", output)
  end)

  it("makes packages for glibc 2.17 with a real zig, which run the scenario", function()
    if closed then return pending(closed) end
    local path = "PATH=\"$PWD/build/zig/bin:$PATH\" "
    if not select(2, shell(path .. "python3 -m ziglang version")) then
      return pending "zig is not installed (packaging/requirements.txt)"
    end
    out = dir .. "/zig"
    local output = must("scripts/dist.sh --glibc 2.17 --output " .. quote(out))
    assert.is_truthy(output:find("\ndist: the library needs glibc 2.17\n", 1, true), output)
    local root = new_root "zig"
    unpack_into(root)
    local library = root .. "/usr/local/lib/lua/5.4/hotreload.so"
    assert.are.equal("2.17", glibc_of(library))
    -- With an unwinder of zig's own it would crash in a Lua that was compiled as C++.
    assert.is_truthy(must("readelf -d " .. quote(library)):find("[libgcc_s.so.1]", 1, true))
    plays(root)
  end)
end)

for _, path in ipairs { "RELEASING.md", "docs/install.md" } do
  document.specs(path, _ENV)
end

describe("the files for a forge", function()
  it("name only scripts, targets and files that exist", function()
    local makefile = read "Makefile"
    local paths = ".github/workflows/release.yml packaging/Dockerfile RELEASING.md docs/install.md"
    for path in paths:gmatch "%S+" do
      local text = read(path)
      for file in text:gmatch "[%w_]+/[%w_]+%.%l+" do
        if file:find "^scripts/" or file:find "^packaging/" or file:find "^demo/" then
          assert.is_truthy(io.open(file), path .. ": " .. file)
        end
      end
      for target in text:gmatch "make ([%l-]+)" do
        assert.is_truthy(makefile:find("\n" .. target .. ":", 1, true), path .. ": " .. target)
      end
    end
  end)

  it("mark what nobody has tried, in the workflow and in RELEASING.md", function()
    local workflow, page = read ".github/workflows/release.yml", read "RELEASING.md"
    for _, name in ipairs { "aarch64", "musl", "macOS" } do
      assert.is_truthy(workflow:find("# Not tried: [^\n]*" .. name), name)
      assert.is_truthy(page:find("\n| " .. name .. "[^|\n]*|[^|\n]*| not tried |"), name)
    end
  end)

  it("name the one place of the project's address", function()
    local page = read "RELEASING.md"
    local rockspec = shell "ls hotreload-[0-9]*.rockspec":match "%S+"
    assert.are.equal(1, select(2, read(rockspec):gsub("https?://", "")))
    assert.is_truthy(read(rockspec):find("\nlocal address = \"", 1, true))
    assert.is_truthy(page:find("`address` in `hotreload-VERSION-1.rockspec`", 1, true))
  end)

  it("ask a reporter for the plan and for the versions", function()
    local form = read ".github/ISSUE_TEMPLATE/bug.yml"
    assert.is_truthy(form:find("print(require \"hotreload\".plan(\"MODULE\"))", 1, true))
    assert.is_truthy(form:find('print(require "hotreload"._VERSION, _VERSION)', 1, true))
    for name in form:gmatch "\n    id: (%l+)" do
      assert.is_truthy(form:find("id: " .. name .. "\n    attributes:\n      label: %u"), name)
    end
    assert.is_truthy(read ".github/ISSUE_TEMPLATE/config.yml":find("SECURITY.md", 1, true))
  end)
end)
