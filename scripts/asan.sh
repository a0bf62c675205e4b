#!/usr/bin/env bash
# The in-process tests under AddressSanitizer, the built-in Lua included: nothing is read or written
# outside of what is allocated, or after it is freed. Of tests/faults.rs those tests that collect at
# every allocation; the rest would take hours. A quarter of an hour.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
rustup run nightly rustc --version >/dev/null 2>&1 ||
  missing+=("a nightly Rust:   rustup toolchain install nightly --profile minimal")
{ echo 'int main(void){return 0;}' | cc -fsanitize=address -c -x c - -o /dev/null; } 2>/dev/null ||
  missing+=("a C compiler that knows -fsanitize=address:   apt-get install gcc")
if [ ${#missing[@]} != 0 ]; then
  echo "asan: this is missing:" >&2
  printf '  %s\n' "${missing[@]}" >&2
  exit 1
fi

# The sanitizer is for what the target runs, not for build scripts: so the target is named.
target=$(rustup run nightly rustc -vV | sed -n 's/^host: //p')
# As many requests, bytes and seeds as in `make test-all`.
export HOTRELOAD_ALL=1
export CARGO_TARGET_DIR=$PWD/target/asan CARGO_INCREMENTAL=0
export RUSTFLAGS="-Zsanitizer=address -Cforce-frame-pointers=yes"
export CFLAGS="-fsanitize=address -fno-omit-frame-pointer -g -O1"
# Frames are larger, and the tests' own writer of dumps goes as deep as the dumps that it makes.
export RUST_MIN_STACK=67108864
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1

log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() {
  # shellcheck disable=SC2086  # one word for each option
  cargo +nightly test --locked --no-fail-fast --target "$target" \
    ${TEST_FEATURES:---no-default-features --features vendored,lua54} "$@" 2>&1 | tee -a "$log"
}
run --lib --test bytecode --test finalizers --test heap --test opening --test order \
  --test readers --test shared --test stack --test states
run --test faults -- every_allocation

built=("$CARGO_TARGET_DIR/$target"/debug/build/mlua-sys-*/out/lib/liblua5.4.a)
if ! grep -q "__asan_report" <(nm -A "${built[@]}" 2>/dev/null); then
  echo "asan: the built-in Lua was compiled without the sanitizer" >&2
  exit 1
fi
awk '/^test result: ok/ { passed += $4 }
  END { print "asan: " passed " tests passed, no error" }' "$log"
