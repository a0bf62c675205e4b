#!/usr/bin/env bash
# Builds the C modules of tests/allocators.c into a directory: scripts/allocators.sh DIRECTORY
# Status 3: there is no C compiler, or no Lua 5.4.
set -euo pipefail
cd "$(dirname "$0")/.."

lua=$(scripts/lua_flags.sh)
flags=(-std=gnu11 -Wall -Wextra -Werror -O1 -g -shared -fPIC)
for flag in $lua; do
  [[ $flag = -l* ]] || flags+=("$flag") # a module has Lua's functions from the program
done
for name in taker late keeper forwarder; do
  # The last two are the state's allocator until its end, so they must themselves stay.
  [ "$name" = keeper ] && flags+=("-Wl,-z,nodelete")
  "${CC:-cc}" "${flags[@]}" tests/allocators.c -o "$1/$name.so"
done
