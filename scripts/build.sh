#!/usr/bin/env bash
# Builds the library for `require` and puts it at build/hotreload.so (that name on every system: Lua
# looks for it).
#
#   scripts/build.sh [OUTPUT [CARGO-COMMAND ARGUMENT...]]
#
# scripts/dist.sh names another output and another command of cargo than `build`.
# Cargo itself says where it left the library, so CARGO_TARGET_DIR and its like hold.
set -euo pipefail
cd "$(dirname "$0")/.."

output=${1:-build/hotreload.so} command=("${@:2}")
[ $# -gt 1 ] || command=(build)

cargo=${CARGO:-cargo}
if ! command -v "$cargo" >/dev/null; then
  echo "build: cargo is missing: install Rust, https://rustup.rs" >&2
  exit 1
fi

built=$("$cargo" "${command[@]}" --release --locked --lib \
  --message-format=json-render-diagnostics |
  sed -nE 's/.*"(\/[^"]*\/libhotreload\.(so|dylib))".*/\1/p' | tail -n 1)
if [ ! -f "$built" ]; then
  echo "build: cargo made no libhotreload.so" >&2
  exit 1
fi

mkdir -p "$(dirname "$output")"
if ! cmp -s "$built" "$output"; then
  # By another name first: a program that loads the library meanwhile gets the old one or the new
  # one, whole.
  cp "$built" "$output.$$"
  mv -f "$output.$$" "$output"
fi
