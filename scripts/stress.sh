#!/usr/bin/env bash
# The tests that `make test` runs in part, or for a short while, whole: one after the other, each
# with what it was told of. Then the stories in a Lua with its own checks on, and the specs under
# valgrind. The better part of an hour. Of tests/refused.rs it is still a part: each telling has a
# process of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
rust() {
  # shellcheck disable=SC2086  # one word for each option
  "${CARGO:-cargo}" test --locked \
    ${TEST_FEATURES:---no-default-features --features vendored,lua54} "$@" </dev/null
}
export HOTRELOAD_STRESS=1

rust --test raises
rust --test threads -- --nocapture
rust --test finalizers
rust --test refused -- --nocapture
scripts/build.sh
scripts/hosts.sh 8 20000 64
scripts/hosts.sh 1 2000 1

# Every request for memory fails, in every way.
rust --test faults -- --nocapture 2>&1 | tee "$log"
awk '
  match($0, /faults: .*: [0-9]+ reloads, [0-9]+ failed requests/) {
    n = split(substr($0, RSTART, RLENGTH), words, " ")
    failed += words[n - 2]
    reloads += words[n - 4]
  }
  END {
    print "stress: faults: " reloads " reloads, " failed " failed requests"
    exit !(reloads > 50000)
  }' "$log"

unset HOTRELOAD_STRESS

# Lua with its own checks on: its assertions; the stack is moved, and all garbage is collected, at
# every chance. The tests that tell each story a few times; the others would take days. Not
# tests/bytecode.rs: what Lua asserts of bytecode, hostile bytecode breaks.
(
  export CARGO_TARGET_DIR=$PWD/target/hard
  export CFLAGS="-DLUAI_ASSERT -DLUA_USE_APICHECK -DHARDSTACKTESTS=1 -DHARDMEMTESTS=1"
  rust --test stack -- deep_in in_a_message in_a_finalizer
  rust --test states
  rust --test faults -- every_allocation
  rust --lib nested::
)

scripts/valgrind.sh
