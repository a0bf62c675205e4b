#!/usr/bin/env bash
# Runs the built library on releases of Lua 5.4 that are built from source: the programs of demo/,
# the host of tests/hosts.c, and, where busted is installed, the specs that SPECS names. The
# releases are those that a crate lua-src on crates.io has; cargo fetches them. VERSIONS="5.4.0
# 5.4.9" says which; none means all. The first that fails ends this.
set -euo pipefail
cd "$(dirname "$0")/.."

# One crate for each release: two of the same major version cannot be asked for together.
declare -A crates=(
  [5.4.0]=540.0.1 [5.4.1]=541.0.0 [5.4.2]=542.0.0 [5.4.3]=543.1.0 [5.4.4]=544.0.1
  [5.4.6]=546.0.2 [5.4.7]=547.1.0 [5.4.8]=548.1.2 [5.4.9]=551.0.2
)
mapfile -t all < <(printf '%s\n' "${!crates[@]}" | sort)
read -r -a versions <<<"${VERSIONS:-${all[*]}}"
default=(document edits closures nested sweep random_heaps undo track watch)
read -r -a specs <<<"${SPECS:-$(printf 'spec/%s_spec.lua ' "${default[@]}")}"

fetch=$PWD/target/luas/fetch
mkdir -p "$fetch/src"
: >"$fetch/src/lib.rs"
{
  printf '%s\n' '[package]' 'name = "fetch"' 'version = "0.0.0"' 'edition = "2024"' '[workspace]' \
    '[build-dependencies]'
  for version in "${versions[@]}"; do
    crate=${crates[$version]:?there is no crate with this release}
    printf 'lua%s = { package = "lua-src", version = "=%s" }\n' "${version//./}" "$crate"
  done
} >"$fetch/Cargo.toml"
sources=$("${CARGO:-cargo}" metadata --format-version 1 --manifest-path "$fetch/Cargo.toml" |
  grep -oE '"manifest_path":"[^"]*/lua-src-[^"/]*' | sed 's/.*":"//')

# busted's own files stand where the installed Lua looks for them.
busted=$(command -v busted || true)
if [ -n "$busted" ]; then
  LUA_PATH_5_4=$("${LUA:-lua5.4}" -e 'io.write(package.path)')
  LUA_CPATH_5_4=$("${LUA:-lua5.4}" -e 'io.write(package.cpath)')
fi
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT

for version in "${versions[@]}"; do
  source=$(grep "/lua-src-${crates[$version]}\$" <<<"$sources")/lua-$version
  lua=$(CFLAGS=-O2 scripts/lua.sh 5.4 "$source")
  library=$(CFLAGS=-O2 scripts/lua.sh 5.4-library "$source")
  echo "== Lua $version: demo/"
  LUA=$lua scripts/demo.sh >/dev/null
  echo "== Lua $version: tests/hosts.c"
  LUA_DIR=${library%/*} scripts/hosts.sh 8 200 32
  LUA_DIR=${library%/*} scripts/hosts.sh 1 50 1
  if [ -n "$busted" ]; then
    echo "== Lua $version: ${specs[*]}"
    ln -sf "$lua" "$bin/lua5.4" # for the specs that start programs
    LUA_PATH_5_4=$LUA_PATH_5_4 LUA_CPATH_5_4=$LUA_CPATH_5_4 PATH=$bin:$PATH \
      busted --lua="$lua" --output=TAP "${specs[@]}" </dev/null >"$bin/log" || {
      grep -A 20 '^not ok' "$bin/log" >&2
      exit 1
    }
    grep -c '^ok' "$bin/log"
  else
    echo "== busted is not installed: no specs were run on Lua $version"
  fi
done
echo "All of ${versions[*]} did what they should."
