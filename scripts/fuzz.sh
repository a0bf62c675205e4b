#!/usr/bin/env bash
# Generated programs, FUZZ_CASES (100,000) of them; then fuzzing, FUZZ_SECONDS (60) for each line of
# the list at the end. Fails at the first finding, and says how to repeat it.
# What is found to be worth keeping stays in fuzz/corpus/, and the next run begins there.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-60}
lua=${LUA:-lua5.4}
# The longest input. Seeds are no longer, so that they are whole.
most=8192
total=0

need() {
  if ! "$@" >/dev/null 2>&1; then return 1; fi
}

# programs CASES: modules with histories, reloaded and compared with a reference program; from a
# seed that is told.
programs() {
  echo "== fuzz: generated programs, $1 cases"
  # shellcheck disable=SC2086  # one word for each option
  HOTRELOAD_CASES=$1 HOTRELOAD_SEED=${HOTRELOAD_SEED:-random} \
    "${CARGO:-cargo}" test --locked --release \
    ${TEST_FEATURES:---no-default-features --features vendored,lua54} \
    --test generated -- --nocapture
}

programs "${FUZZ_CASES:-100000}"

missing=()
need rustup run nightly rustc --version ||
  missing+=("a nightly Rust:   rustup toolchain install nightly --profile minimal")
need cargo fuzz --version || missing+=("cargo-fuzz:        cargo install cargo-fuzz --locked")
need c++ --version || missing+=("a C++ compiler:    apt-get install g++")
need "$lua" -v || missing+=("Lua 5.4:           apt-get install lua5.4")
if [ ${#missing[@]} != 0 ]; then
  echo "fuzz: this is missing:" >&2
  printf '  %s\n' "${missing[@]}" >&2
  exit 1
fi

seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
mapfile -t files < <(find lua spec demo examples bench -name '*.lua' | sort)
count=$("$lua" fuzz/seeds.lua "$seeds" "$most" "${files[@]}")
echo "fuzz: $count seeds from ${#files[@]} Lua files"

# bytes TARGET: a coverage-guided run of one target of fuzz/, on what reads bytes.
bytes() {
  local target=$1 log=$seeds.log status=0
  mkdir -p "fuzz/corpus/$target"
  echo "== fuzz: $target, $seconds s"
  cargo +nightly fuzz run --fuzz-dir fuzz "$target" "fuzz/corpus/$target" "$seeds" -- \
    -max_total_time="$seconds" -max_len="$most" -rss_limit_mb=1024 -malloc_limit_mb=64 \
    -timeout=10 -use_value_profile=1 -print_final_stats=1 -verbosity=0 >"$log" 2>&1 || status=$?
  if [ "$status" != 0 ]; then
    tail -n 60 "$log" >&2
    rm -f "$log"
    echo "fuzz: $target failed; the line that begins with 'cargo fuzz run' repeats it" >&2
    exit 1
  fi
  local runs
  runs=$(sed -nE 's/^stat::number_of_executed_units: *([0-9]+)$/\1/p' "$log")
  rm -f "$log"
  if [ -z "$runs" ] || [ "$runs" = 0 ]; then
    echo "fuzz: $target ran nothing" >&2
    exit 1
  fi
  echo "   $target: $runs executions"
  total=$((total + runs))
}

bytes chunk
bytes tree
bytes constants
bytes outline
bytes definitions
bytes cut
echo "fuzz: $total executions of targets that read bytes, no finding"
