#!/usr/bin/env bash
# Format, clippy for both ways to build, luacheck. All are run, whichever fails first.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

cargo=${CARGO:-cargo}
status=0
check() {
  echo "== $*"
  "$@" || status=1
}

check "$cargo" fmt --check
check "$cargo" fmt --manifest-path fuzz/Cargo.toml --check
check "$cargo" clippy --locked --all-targets -- -D warnings
# shellcheck disable=SC2086  # one word for each option
check "$cargo" clippy --locked --all-targets ${TEST_FEATURES:---no-default-features --features vendored,lua54} -- -D warnings
if scripts/setup.sh luacheck; then
  check luacheck --quiet lua spec bench demo examples fuzz/seeds.lua .busted .luacheckrc .luarocks
  # Given as a file, a rockspec stands for the modules that it lists.
  for rockspec in *.rockspec; do
    # shellcheck disable=SC2094  # nothing is written
    check luacheck --quiet --std rockspec --filename "$rockspec" - <"$rockspec"
  done
else
  echo "== luacheck is not installed: the Lua files were NOT checked"
fi
exit "$status"
