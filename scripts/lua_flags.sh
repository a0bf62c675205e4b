#!/usr/bin/env bash
# Prints what the C compiler needs for the installed Lua 5.4, or for the one in LUA_DIR. Status 3:
# there is no C compiler, or no Lua 5.4 to link.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -n "${LUA_DIR:-}" ]; then
  lua=("-I$LUA_DIR" "$LUA_DIR/lua")
else
  read -r -a lua < <(pkg-config --cflags --libs lua5.4 2>/dev/null || true) || true
fi
if [ "${#lua[@]}" = 0 ]; then
  lua=(-llua5.4)
  for place in /usr/include/lua5.4 /usr/include/lua54 /usr/include \
    /usr/local/include/lua5.4 /usr/local/include; do
    if grep -qs '^#define LUA_VERSION_NUM[[:space:]]*504' "$place/lua.h"; then
      lua=("-I$place" -llua5.4)
      break
    fi
  done
fi
echo 'int main(void) { return 0; }' >"$work/nothing.c"
if ! "${CC:-cc}" -include lua.h "$work/nothing.c" -o "$work/nothing" "${lua[@]}" 2>"$work/why"; then
  cat "$work/why" >&2
  exit 3
fi
echo "${lua[@]}"
