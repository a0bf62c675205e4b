rockspec_format = "3.0"
package = "hotreload"
version = "dev-1"
source = {
  -- For `luarocks make` in a checkout, which fetches nothing.
  url = ".",
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
