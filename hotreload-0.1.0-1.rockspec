-- The address at which the project is published: RELEASING.md, "Once". `luarocks make` fetches
-- nothing.
local address = "https://example.org/hotreload"

rockspec_format = "3.0"
package = "hotreload"
version = "0.1.0-1"
source = {
  url = "git+" .. address .. ".git",
  tag = "v0.1.0",
}
description = {
  summary = "Replaces the code of a running Lua server without losing its data",
  license = "MIT",
}
dependencies = {
  "lua >= 5.4, < 5.5",
}
test = {
  type = "command",
  command = "make test",
}
build = {
  type = "make",
  build_target = "build",
  build_variables = {
    CFLAGS = "$(CFLAGS)",
  },
  install_variables = {
    BINDIR = "$(BINDIR)",
    LUA_LIBDIR = "$(LIBDIR)",
    LUA_DATADIR = "$(LUADIR)",
    DOCDIR = "$(PREFIX)/doc",
  },
}
