#!/usr/bin/env bash
# Builds the host of tests/services.c against the installed Lua, and runs tests/services.lua in it,
# in the directory DIR: scripts/services.sh DIR THREADS STATES
# Status 3: there is no C compiler, or no Lua 5.4 to link.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

lua=$("$root/scripts/lua_flags.sh")
read -r -a lua <<<"$lua"
"${CC:-cc}" -std=gnu11 -Wall -Wextra -Werror -O1 "$root/tests/services.c" -o "$work/services" \
  "${lua[@]}" -lpthread
cd "$1"
export LUA_PATH="$1/?.lua;$root/lua/?.lua" LUA_CPATH="$root/build/?.so"
timeout 120 "$work/services" "$root/tests/services.lua" "$2" "$3"
