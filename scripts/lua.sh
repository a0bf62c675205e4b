#!/usr/bin/env bash
# Builds a Lua from source, once, and prints the path of what it built:
#
#   scripts/lua.sh VERSION[-KIND] [SOURCE]
#
# VERSION is 5.1 to 5.5, and SOURCE the directory of its source. Without SOURCE it is that of the
# crate lua-src, of which the Rust tests have their Lua: cargo has it or fetches it.
# Without KIND it is a program that runs a file and exports Lua's functions (tests/lua.c).
# KIND is one change:
#   ids512      Lua's messages name files with up to 512 bytes (LUA_IDSIZE), as Fedora's do
#   ids8192     the same with 8192
#   int32       integers and floats of 32 bits (LUA_32BITS)
#   stack2m     two million values on a stack (LUAI_MAXSTACK)
#   cxx         compiled as C++, with the names of C: errors are exceptions
#   closed      a program that exports nothing
#   hidden      a library that hides Lua's functions, for `lua --in`
#   library     a library that exports them; Lua's headers are beside it
# CFLAGS says how to compile, -O0 as a rule. Status 3: there is no compiler.
set -euo pipefail
cd "$(dirname "$0")/.."

version=${1%%-*} kind=${1#"${1%%-*}"}
cc=("${CC:-cc}") c=("${CC:-cc}")
[ "$kind" != -cxx ] || cc=("${CXX:-c++}") c=("${CXX:-c++}" -x c++)
command -v "${cc[0]}" >/dev/null || exit 3

source=${2:-}
if [ -z "$source" ]; then
  host=$(rustc -vV | sed -n 's/^host: //p')
  crate=$("${CARGO:-cargo}" metadata --locked --format-version 1 --features vendored \
    --filter-platform "$host" |
    sed -nE 's/.*"manifest_path":"([^"]*\/lua-src-[^"/]*)\/Cargo.toml".*/\1/p')
  source=$(echo "$crate"/lua-"$version".*)
fi

out=$PWD/target/luas/$(basename "$source")$kind
cflags=${CFLAGS:--O0}
stamp="$source $cflags $(cat scripts/lua.sh tests/lua.c | cksum)"
if [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
  echo "$out/lua"
  exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$source"/*.[ch] tests/lua.c "$work"
rm -f "$work/luac.c" "$work/onelua.c" "$work/ltests.c"

# define NAME VALUE: every value that luaconf.h gives NAME is replaced.
define() {
  sed -i -E "s/^( *# *define[[:space:]]+$1)[[:space:]].*/\1 $2/" "$work/luaconf.h"
  grep -q "define[[:space:]]*$1 $2\$" "$work/luaconf.h"
}
# In Lua 5.1 nothing else defines LUA_USE_DLOPEN, its loader of C libraries.
read -r -a compile <<<"$cflags"
compile+=(-w -fPIC -DLUA_USE_LINUX -DLUA_USE_DLOPEN) link=('-Wl,-E')
case $kind in
  '') ;;
  -ids512) define LUA_IDSIZE 512 ;;
  -ids8192) define LUA_IDSIZE 8192 ;;
  -int32) define LUA_32BITS 1 ;;
  -stack2m) define LUAI_MAXSTACK 2000000 ;;
  -cxx) define LUA_API 'extern "C"' ;;
  -closed) link=() ;;
  -hidden) compile+=(-DLIBRARY -fvisibility=hidden) link=(-shared) ;;
  -library) compile+=(-DLIBRARY) link=(-shared '-Wl,-Bsymbolic') ;;
  *) echo "lua: no kind of build is called '${kind#-}'" >&2; exit 2 ;;
esac
(
  cd "$work"
  "${c[@]}" "${compile[@]}" -c ./*.c
  "${cc[@]}" ${link[@]+"${link[@]}"} ./*.o -o lua -lm -ldl
  rm ./*.[co]
)
echo "$stamp" >"$work/stamp"
mkdir -p "${out%/*}"
rm -rf "$out"
mv "$work" "$out"
chmod 755 "$out"
echo "$out/lua"
