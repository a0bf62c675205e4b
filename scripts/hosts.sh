#!/usr/bin/env bash
# Builds the host of tests/hosts.c against the installed Lua, and runs it with the built library:
# scripts/hosts.sh THREADS STATES ALIVE
# With LUA_DIR it is built against the Lua there, which `scripts/lua.sh 5.4-library` has built.
# The last line has its figures. Status 3: there is no C compiler, or no Lua 5.4 to link.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

lua=$(scripts/lua_flags.sh)
read -r -a lua <<<"$lua"
"${CC:-cc}" -std=gnu11 -Wall -Wextra -Werror -O1 tests/hosts.c -o "$work/hosts" \
  "${lua[@]}" -lpthread -ldl
"$work/hosts" "$PWD/build/?.so" "$@"
