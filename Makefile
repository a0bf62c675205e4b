# `make help` lists the targets. What they do stands in scripts/; here stands what needs what.

LUA         ?= lua5.4
LUAROCKS    ?= luarocks --lua-version 5.4
CARGO       ?= cargo
PREFIX      ?= /usr/local
BINDIR      ?= $(PREFIX)/bin
LUA_LIBDIR  ?= $(PREFIX)/lib/lua/5.4
LUA_DATADIR ?= $(PREFIX)/share/lua/5.4
ROCK_TREE   ?= $(CURDIR)/build/rock
# The library that `install` copies. `build` leaves one from elsewhere alone.
HOTRELOAD_LIBRARY ?= build/hotreload.so
# The licences of what is linked into it, for DOCDIR: scripts/dist.sh writes the file.
HOTRELOAD_LICENCES ?=

# The tests build a Lua of their own in: a library for `require` cannot be linked into a test
# program.
TEST_FEATURES := --no-default-features --features vendored,lua54

export LUA LUAROCKS CARGO TEST_FEATURES
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := build
.NOTPARALLEL:
.PHONY: help setup build demo test test-all versions stress valgrind asan fuzz mutants
.PHONY: lint arrows fmt bench growth record rock install dist clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-8s %s\n", $$1, $$2 }' Makefile

setup: ## install what the other targets need besides Rust (Debian packages), where it is missing
	@scripts/setup.sh cc lua headers luarocks busted --if-possible luasocket luv argparse packages

build: ## build the library: build/hotreload.so
	@test '$(HOTRELOAD_LIBRARY)' != build/hotreload.so || scripts/build.sh

demo: ## run the two example programs of demo/, installing what is missing
	@scripts/setup.sh cc lua
	@scripts/build.sh
	@scripts/demo.sh

test: setup build ## run the Rust tests and the specs, installing what is missing
	@scripts/test.sh

versions: ## run demo, hosts and some specs on releases of Lua 5.4 (VERSIONS="5.4.0 5.4.9")
	@scripts/setup.sh cc lua
	@scripts/build.sh
	@scripts/versions.sh

test-all: setup build ## run the same tests with more requests, bytes and seeds in each
	@scripts/test.sh --all

stress: ## run all that `make test` samples; the stories with Lua's checks; specs under valgrind
	@scripts/setup.sh cc lua headers busted
	@scripts/stress.sh

valgrind: ## run the specs under valgrind: no error, no block lost
	@scripts/setup.sh cc lua headers busted
	@scripts/valgrind.sh

asan: ## run the Rust tests, the built-in Lua included, under AddressSanitizer; wants a nightly Rust
	@scripts/setup.sh cc
	@scripts/asan.sh

fuzz: ## reload FUZZ_CASES (100000) programs; fuzz each reader for FUZZ_SECONDS (60), nightly
	@scripts/fuzz.sh

mutants: ## report each change to a stage (MUTANTS, src/stages/matching) that no Rust test notices
	@scripts/mutants.sh

lint: ## check format, clippy, luacheck, shellcheck, documentation, licences, the width of lines
	@scripts/lint.sh

arrows: ## fail on an import in src/ that goes up between rooms, and on two types of one name
	@$(LUA) scripts/arrows.lua

fmt: ## format the Rust code
	$(CARGO) fmt

bench: ## measure how long reloads take
	@scripts/setup.sh cc
	$(CARGO) bench --locked $(TEST_FEATURES)

growth: build ## measure how a reload's cost grows with each size; fails above exponent 1.3
	@scripts/setup.sh lua
	@$(LUA) bench/growth.lua

record: build ## record examples/server, edited while a player plays: docs/recording.svg
	@scripts/setup.sh lua luasocket
	@$(LUA) scripts/record.lua docs/recording.svg

rock: ## install with LuaRocks into a tree of its own: ROCK_TREE, build/rock
	@scripts/setup.sh cc lua headers luarocks
	$(LUAROCKS) make --tree '$(ROCK_TREE)'

install: ## copy library and command to PREFIX (BINDIR, LUA_LIBDIR, LUA_DATADIR, DOCDIR)
	@test -f '$(HOTRELOAD_LIBRARY)' || scripts/build.sh
	install -d '$(DESTDIR)$(LUA_LIBDIR)' '$(DESTDIR)$(LUA_DATADIR)/hotreload/hosts'
	install -d '$(DESTDIR)$(BINDIR)'
	install -m 755 bin/hotreload '$(DESTDIR)$(BINDIR)/hotreload'
	install -m 755 '$(HOTRELOAD_LIBRARY)' '$(DESTDIR)$(LUA_LIBDIR)/hotreload.so'
	install -m 644 lua/reload.lua '$(DESTDIR)$(LUA_DATADIR)/reload.lua'
	cd lua/hotreload && \
	  install -m 644 meta.lua watch.lua dev.lua console.lua '$(DESTDIR)$(LUA_DATADIR)/hotreload/'
	install -m 644 lua/hotreload/hosts/*.lua '$(DESTDIR)$(LUA_DATADIR)/hotreload/hosts/'
	test -z '$(DOCDIR)' || install -d '$(DESTDIR)$(DOCDIR)'
	test -z '$(DOCDIR)' || \
	  install -m 644 LICENSE README*.md CHANGELOG.md $(HOTRELOAD_LICENCES) '$(DESTDIR)$(DOCDIR)/'

dist: ## build what installs without Rust, in build/dist: a tarball, a binary rock, a Debian package
	@scripts/dist.sh

clean: ## remove all that was built
	$(CARGO) clean
	rm -rf build
