#!/usr/bin/env bash
# Builds what people without Rust install: a tarball, a binary rock, a Debian package, SHA256SUMS.
#
#   scripts/dist.sh [--library FILE] [--glibc VERSION] [--output DIR]
#
#   --library FILE    packs this library, and builds none
#   --glibc VERSION   fails if the library needs a newer glibc than this one
#   --output DIR      where the packages go (build/dist)
#
# On Linux with glibc, zig links the library for glibc 2.17 (scripts/zig_cc.sh). It is the module
# ziglang of the python3 in build/zig/bin or in PATH. Without it, cargo builds the library for this
# machine's glibc.
# The rock needs luarocks, the Debian package needs dpkg-deb. A package that cannot be made is
# skipped with a message.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "dist: $*"; }
fail() { echo "dist: $*" >&2; exit 1; }

library='' newest='' output=build/dist
while [ $# -gt 0 ]; do
  [ $# -gt 1 ] || fail "$1 wants a value"
  case $1 in
    --library) library=$2 ;;
    --glibc) newest=$2 ;;
    --output) output=$2 ;;
    *) fail "no option is called '$1'" ;;
  esac
  shift 2
done

export PATH="$PWD/build/zig/bin:$PATH"
cargo=${CARGO:-cargo} lua=${LUA:-lua5.4}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
rockspec=hotreload-$version-1.rockspec
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
unset MAKEFLAGS MAKELEVEL # a make above this script would hand its flags down

machine=$(uname -m) system=$(uname -s) has_glibc=no
if [ "$system" = Linux ] && getconf GNU_LIBC_VERSION >/dev/null 2>&1; then has_glibc=yes; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$output"
output=$(cd "$output" && pwd)

zig=no
if [ -n "$library" ]; then
  [ -f "$library" ] || fail "there is no file $library"
elif [ "$has_glibc" = yes ] && python3 -m ziglang version >/dev/null 2>&1; then
  say "zig links for glibc 2.17"
  zig=yes library=build/glibc2.17/hotreload.so
  export ZIG_TARGET=$machine-linux-gnu.2.17
  variable=CARGO_TARGET_${machine^^}_UNKNOWN_LINUX_GNU_LINKER
  export "$variable=$PWD/scripts/zig_cc.sh"
  scripts/build.sh "$library" build --target "$machine-unknown-linux-gnu"
else
  if [ "$has_glibc" = yes ]; then
    say "zig is missing: cargo builds for this machine's glibc"
    say "for glibc 2.17 install zig first: python3 -m venv build/zig &&" \
      "build/zig/bin/pip install -r packaging/requirements.txt"
  fi
  library=build/hotreload.so
  scripts/build.sh
fi
cp "$library" "$work/hotreload.so"

# needed PREFIX: the newest version of these symbols that the library asks for.
needed() {
  objdump -T "$work/hotreload.so" | grep -oE "$1[0-9]+(\.[0-9]+)+" | sed "s/^$1//" | sort -V |
    tail -n 1
}

case $system in
  Linux)
    strip --strip-unneeded "$work/hotreload.so"
    if [ "$has_glibc" = yes ]; then
      glibc=$(needed GLIBC_)
      [ -n "$glibc" ] || fail "$library asks for no version of glibc"
      say "the library needs glibc $glibc"
      most=$(printf '%s\n' "${newest:-$glibc}" "$glibc" | sort -V | tail -n 1)
      if [ "$most" != "${newest:-$glibc}" ]; then
        fail "$library needs glibc $glibc, which is newer than $newest"
      fi
      name=hotreload-$version-linux-$machine-glibc$glibc
    else
      name=hotreload-$version-linux-$machine-musl
    fi
    ;;
  Darwin) name=hotreload-$version-macos-$machine ;;
  *) fail "$system is not known here" ;;
esac

# LICENCES.txt: what is linked into the library, with the texts of the licences.
licences() {
  local packages line package licence directory found file
  "$cargo" metadata --locked --format-version 1 | grep -oE '"manifest_path":"[^"]+"' |
    sed -E 's/^"manifest_path":"(.*)\/Cargo.toml"$/\1/' >"$work/directories"
  packages=$("$cargo" tree --locked -e normal,no-proc-macro --prefix none -f '{p} :: {l}' |
    grep -v '^hotreload ' | sed 's/ (\*)$//' | sort -u)
  echo "The library hotreload.so has these parts besides its own (LICENSE)."
  while IFS= read -r line; do
    package=${line%% :: *} licence=${line##* :: }
    printf '\n==== %s: %s\n\n' "$package" "$licence"
    directory=$(grep -F "/${package/ v/-}" "$work/directories" | head -n 1)
    [ -n "$directory" ] || fail "cargo does not say where $package is"
    found=
    for file in "$directory"/{LICENSE-MIT,LICENSE,LICENSE.md,LICENSE.txt}; do
      if [ -f "$file" ] && [ -z "$found" ]; then found=$file; fi
    done
    if [ -n "$found" ]; then cat "$found"; else echo "The package has no text of it."; fi
  done <<<"$packages"

  printf '\n==== The standard library of Rust\n\n'
  file=$(rustc --print sysroot)/share/doc/rust/COPYRIGHT-library.html
  if [ -f "$file" ]; then
    sed -e 's/<[^>]*>//g' -e 's/&quot;/"/g' -e 's/&lt;/</g' -e 's/&gt;/>/g' -e 's/&amp;/\&/g' \
      "$file" | cat -s
  else
    echo "MIT OR Apache-2.0, https://github.com/rust-lang/rust/blob/HEAD/COPYRIGHT"
  fi
  [ "$zig" = yes ] || return 0
  directory=$(python3 -c 'import os, ziglang; print(os.path.dirname(ziglang.__file__))')
  printf '\n==== compiler_rt of zig: MIT\n\n'
  cat "$directory/LICENSE"
}
licences >"$work/LICENCES.txt"

# put DIR PREFIX LUA_LIBDIR DOCDIR: what `make install` puts there.
put() {
  make -s install DESTDIR="$1" PREFIX="$2" LUA_LIBDIR="$3" DOCDIR="$4"
}
export HOTRELOAD_LIBRARY=$work/hotreload.so HOTRELOAD_LICENCES=$work/LICENCES.txt

rm -f "$output"/hotreload-* "$output"/lua-hotreload_* "$output/SHA256SUMS"

# archive DIR OUTPUT: the same bytes for the same files.
archive() {
  local flags=()
  if tar --version 2>/dev/null | grep -q GNU; then
    flags=(--sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner)
  fi
  tar -C "$work" ${flags[@]+"${flags[@]}"} -cf - "$1" | gzip -9n >"$2"
}

put "$work/$name" '' /lib/lua/5.4 /
cp -R docs demo "$work/$name/"
archive "$name" "$output/$name.tar.gz"
say "made $output/$name.tar.gz"

# LuaRocks does not tell musl from glibc: a rock for musl would be installed where it cannot load.
if [ "$system" = Linux ] && [ "$has_glibc" = no ]; then
  say "skipped the rock: its name would not say that it is for musl"
elif command -v luarocks >/dev/null; then
  # In a copy: LuaRocks writes into the directory that it runs in. It packs what is installed in a
  # tree, because `make --pack-binary-rock` of LuaRocks 3.8 installs into the system's tree.
  mkdir "$work/rock"
  cp -R Makefile "$rockspec" bin lua README*.md CHANGELOG.md LICENSE "$work/rock/"
  (cd "$work/rock" && luarocks --lua-version 5.4 make --tree "$work/tree" "$rockspec" &&
    luarocks --lua-version 5.4 --tree "$work/tree" pack hotreload "$version-1") \
    >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "luarocks made no rock"; }
  rock=$(cd "$work/rock" && echo hotreload-"$version"-1.*.rock)
  mv "$work/rock/$rock" "$output/$rock"
  say "made $output/$rock"
else
  say "skipped the rock: luarocks is missing"
fi

deb() {
  local root=$work/deb architecture docs=/usr/share/doc/lua-hotreload address depends gcc
  architecture=$(dpkg --print-architecture)
  address=$("$lua" -e 'local env = {} loadfile(arg[1], "t", env)()
    print((env.source.url:gsub("^git%+", ""):gsub("%.git$", "")))' /dev/null "$rockspec")
  depends="lua5.4, libc6 (>= $glibc)"
  gcc=$(needed GCC_ || true)
  [ -z "$gcc" ] || depends+=", libgcc-s1 (>= $gcc)"
  put "$root" /usr "/usr/lib/$machine-linux-gnu/lua/5.4" "$docs"
  mv "$root$docs/LICENSE" "$root$docs/copyright"
  gzip -9n "$root$docs/CHANGELOG.md" "$root$docs/LICENCES.txt"
  cp -R docs demo "$root$docs/"
  mkdir "$root/DEBIAN"
  (cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
  cat >"$root/DEBIAN/control" <<EOF
Package: lua-hotreload
Version: $version-1
Architecture: $architecture
Maintainer: The contributors of hotreload
Installed-Size: $(du -sk "$root/usr" | cut -f 1)
Depends: $depends
Recommends: lua-argparse, lua-socket
Suggests: lua-dkjson
Section: interpreters
Priority: optional
Homepage: $address
Description: $(sed -n 's/^description = "\(.*\)"$/\1/p' Cargo.toml)
 A native module for Lua 5.4. A reload runs a module's file again and puts the
 new functions into the running module, with the old data, or changes nothing.
EOF
  chmod -R u=rwX,go=rX "$root"
  dpkg-deb -Zxz --root-owner-group --build "$root" \
    "$output/lua-hotreload_$version-1_$architecture.deb" >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "dpkg-deb made no package"; }
  say "made $output/lua-hotreload_$version-1_$architecture.deb"
}

if [ "$has_glibc" = no ]; then
  say "skipped the Debian package: it is for Linux with glibc"
elif command -v dpkg-deb >/dev/null && command -v "$lua" >/dev/null; then
  deb
else
  say "skipped the Debian package: dpkg-deb or $lua is missing"
fi

sum=(sha256sum)
command -v sha256sum >/dev/null || sum=(shasum -a 256)
shopt -s nullglob
(cd "$output" && "${sum[@]}" hotreload-* lua-hotreload_* >SHA256SUMS)
