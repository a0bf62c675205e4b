#!/usr/bin/env bash
# All that can be said about the code without running it. Every check runs, whichever fails first.
# What a check needs and cannot be had skips it, with a message. The last line is the sum:
# `N passed, N failed[, N skipped]`.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

cargo=${CARGO:-cargo} lua=${LUA:-lua5.4}
read -r -a features <<<"${TEST_FEATURES:---no-default-features --features vendored,lua54}"
passed=0 failed=0 skipped=0

# check NAME COMMAND...
check() {
  echo "== $1"
  if "${@:2}" </dev/null; then
    passed=$((passed + 1))
  else
    echo "lint: $1: failed" >&2
    failed=$((failed + 1))
  fi
}

# skip NAME WHY
skip() {
  echo "== $1: skipped: $2"
  skipped=$((skipped + 1))
}

# Given as a file, a rockspec stands for the modules that it lists.
rockspecs() {
  local rockspec status=0
  for rockspec in *.rockspec; do
    # shellcheck disable=SC2094  # nothing is written
    luacheck --quiet --std rockspec --filename "$rockspec" - <"$rockspec" || status=1
  done
  return "$status"
}

# Cargo's own list of what the library is built from, its licences against those that may be
# combined with the library's own (MIT).
licences() {
  "$cargo" tree --locked --target all -e normal,build,dev "${features[@]}" --prefix none \
    -f '{p} :: {l}' | "$lua" scripts/licences.lua
}

docs() { RUSTDOCFLAGS="-D warnings" "$cargo" doc --locked --no-deps --document-private-items; }

if "$cargo" fmt --version >/dev/null 2>&1; then
  check "format" "$cargo" fmt --check
  check "format of fuzz/" "$cargo" fmt --manifest-path fuzz/Cargo.toml --check
else
  skip "format" "rustup component add rustfmt"
fi
if "$cargo" clippy --version >/dev/null 2>&1; then
  check "clippy, as a library for require" "$cargo" clippy --locked --all-targets -- -D warnings
  check "clippy, with a Lua built in" \
    "$cargo" clippy --locked --all-targets "${features[@]}" -- -D warnings
else
  skip "clippy" "rustup component add clippy"
fi
check "documentation of the crate" docs

oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
if rustup run "$oldest" rustc --version >/dev/null 2>&1; then
  check "Rust $oldest, the oldest supported" env CARGO_TARGET_DIR=target/oldest \
    rustup run "$oldest" cargo check --locked --all-targets "${features[@]}"
else
  skip "Rust $oldest, the oldest supported" "rustup toolchain install $oldest --profile minimal"
fi

scripts/setup.sh lua --if-possible luacheck shellcheck
if "$lua" -v >/dev/null 2>&1; then
  check "licences" licences
  check "width of lines" "$lua" scripts/width.lua
  check "order of rooms, names of types" "$lua" scripts/arrows.lua
else
  skip "licences, width of lines, order of rooms, names of types" "$lua is missing"
fi
if command -v cargo-deny >/dev/null; then
  check "advisories" "$cargo" deny --locked check advisories
else
  skip "advisories" "cargo install cargo-deny --locked"
fi
if command -v emmylua_check >/dev/null; then
  check "types for editors" "$lua" scripts/types.lua
else
  # The names of its diagnostics may differ between releases.
  skip "types for editors" "cargo install emmylua_check --version 0.25.1 --locked"
fi
if command -v luacheck >/dev/null; then
  check "luacheck" luacheck --quiet lua spec tests bench demo examples scripts fuzz/seeds.lua \
    bin/hotreload .busted .luacheckrc .luarocks
  check "luacheck of rockspecs" rockspecs
else
  skip "luacheck" "apt-get install lua-check"
fi
if command -v shellcheck >/dev/null; then
  check "shellcheck" shellcheck scripts/*.sh .ci/run examples/*/run.sh
else
  skip "shellcheck" "apt-get install shellcheck"
fi

line="$passed passed, $failed failed"
[ "$skipped" = 0 ] || line+=", $skipped skipped"
echo "$line"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
